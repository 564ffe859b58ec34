-- expect: 200 body="GET"
-- request: target="/rest?a=b" header.x-a="b"
return function(request)
  local method = request.method
  rawset(request, "method", {})
  request.json = error
  request.headers = nil
  request.id = {}
  rawset(_G, "request", nil)
  env = nil
  return method
end
