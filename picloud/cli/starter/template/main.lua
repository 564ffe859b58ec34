-- The file is run for each request; what it returns is the handler, or the answer itself.
local greeting = require "greeting"

---@type picloud.Handler
return function(request)
  local name = request.params.name or request.query.name or "world"
  log.info("greeting", { name = name })
  return { status = 200, headers = { ["content-type"] = "text/plain" }, body = greeting.of(name) .. "\n" }
end
