"""What a terminal showed, on disk: asciicast v2 in zstd frames, sealed with a hash that the audit keeps."""
