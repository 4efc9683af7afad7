"""Every kind of document that is recognised inside a paste. One line here, one file with its reader."""

from gpudoctor.evidence import (
    compose_text,
    console_report,
    dcgm,
    docker_files,
    docker_info,
    docker_lists,
    json_documents,
    nginx_conf,
    nvidia_smi_csv,
    nvidia_smi_monitor,
    nvidia_smi_nvlink,
    nvidia_smi_table,
    nvidia_smi_topology,
    nvidia_smi_xml,
    ollama_lists,
    system_commands,
)
from gpudoctor.evidence.blocks import Kind

KINDS: tuple[Kind, ...] = (
    json_documents.KIND,
    nvidia_smi_xml.KIND,
    nvidia_smi_table.KIND,
    nvidia_smi_topology.KIND,
    *nvidia_smi_monitor.KINDS,
    nvidia_smi_csv.KIND,
    nvidia_smi_nvlink.KIND,
    docker_info.KIND,
    *docker_files.KINDS,
    *docker_lists.KINDS,
    compose_text.KIND,
    nginx_conf.KIND,
    console_report.KIND,
    dcgm.KIND,
    ollama_lists.KIND,
    *system_commands.KINDS,
)
