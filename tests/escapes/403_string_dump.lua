-- expect: script-error detail~"attempt to call a nil value (field 'dump')"
return string.dump(function() end)
