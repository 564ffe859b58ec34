-- expect: 200 body="ok"
for _, value in ipairs{ print, coroutine.create(print), {}, true, 1.5, 0 / 0, math.mininteger, "", "\0", json.null, setmetatable({}, { __tostring = error }) } do
  log.debug(value, value)
  log.error(nil, value)
end
log.info()
return "ok"
