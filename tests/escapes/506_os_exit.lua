-- expect: script-error detail~"attempt to call a nil value (field 'exit')"
os.exit(0, true)
