-- curl 'http://127.0.0.1:8080/fn/hello?name=you'
return function(request)
  local name = request.query.name or "world"
  log.info("greeting", { name = name })
  return { status = 200, headers = { ["content-type"] = "text/plain" }, body = "hello " .. name .. "\n" }
end
