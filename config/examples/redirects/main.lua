-- Short links: /go/docs leads where redirects.json says. Edit that file, deploy the folder, and the links are live.
--   picloud deploy config/examples/redirects
--   curl -i http://127.0.0.1:8080/go/docs
local links = json.decode(files.read("redirects.json"))

return function(request)
  -- `params.code` is the route's {code}; under /fn/redirects/… there is `params.rest` instead.
  local code = request.params.code or request.params.rest
  local link = links[code]
  if not link then
    return { status = 404, body = "there is no link of this name\n" }
  end
  return {
    status = link.permanent and 301 or 302, -- browsers remember a 301 for good: 302 until you are sure
    headers = { location = link.to },
    body = "moved to " .. link.to .. "\n",
  }
end
