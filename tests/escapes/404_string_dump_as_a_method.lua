-- expect: script-error detail~"attempt to call a nil value (method 'dump')"
return (""):dump()
