"""What other programs need to run gpudoctor; ``gpudoctor integrate`` hands these files out."""
