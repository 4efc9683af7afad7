"""Particles take the form that the sound before them asks for."""

import pytest

from gpudoctor.reports.korean import settle


@pytest.mark.parametrize(
    ("written", "settled"),
    [
        ("GPU 2을(를)", "GPU 2를"),
        ("GPU 10을(를)", "GPU 10을"),
        ("포트 8000이(가) 비어", "포트 8000이 비어"),
        ("드라이버 535은(는)", "드라이버 535는"),
        ("컨테이너은(는) 모델과(와)", "컨테이너는 모델과"),
        ("모델(으)로", "모델로"),
        ("경로(으)로, 이름(으)로", "경로로, 이름으로"),
        ("1(으)로 3(으)로", "1로 3으로"),
        ("ollama이(가) vLLM은(는)", "ollama이(가) vLLM은(는)"),
    ],
)
def test_a_particle_fits_its_sound(written: str, settled: str) -> None:
    assert settle(written) == settled
