"""Programs that try to find, defeat or abuse the watching from inside."""
