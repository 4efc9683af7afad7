"""nginx configurations: read with line numbers, judged as nginx would, and followed to where requests go."""
