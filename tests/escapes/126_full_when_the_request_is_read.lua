-- expect: memory-limit
-- limits: memory_bytes=2000000
-- request: method="POST" header.content-type="application/x-www-form-urlencoded" body_bytes=400000
return function(request)
  local held = {}
  while true do
    rawset(request, "headers", nil)
    held[#held + 1] = { request.headers, request:form(), request.body .. #held }
  end
end
