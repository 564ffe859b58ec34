-- expect: 200 body="contained"
-- request: method="POST" target="/%00%ff/..%2f..?a=%00&a&=&&%zz=%&a[]=1&__index=x&__proto__=y" header.cookie="=; a; ;;=b; \"c\"=\"d\"; a=1; a=2" header.content-type="application/x-www-form-urlencoded" body="%=%00&&=&a=%e9"
return function(request)
  local query, all, cookies = request.query, request.query_all, request.cookies
  local first, list = request:form()
  for _, t in ipairs{ query, all, cookies, first, list, request.headers, request.params } do
    for key, value in pairs(t) do assert(type(key) == "string" and (type(value) == "string" or type(value) == "table")) end
  end
  assert(query.a == "\0" and query.__index == "x")
  return "contained"
end
