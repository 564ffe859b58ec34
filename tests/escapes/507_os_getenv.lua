-- expect: script-error detail~"attempt to call a nil value (field 'getenv')"
return os.getenv("PICLOUD_DATABASE_URL")
