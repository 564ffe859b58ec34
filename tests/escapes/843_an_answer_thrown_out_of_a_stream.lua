-- expect: script-error detail~"after the answer had begun"
return stream(function(write)
  write("a")
  error{ status = 201, headers = { ["set-cookie"] = "a=b" }, body = "b" }
end)
