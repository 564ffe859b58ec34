-- expect: script-error detail~"attempt to call a nil value (field 'execute')"
return os.execute("id")
