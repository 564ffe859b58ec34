-- An HTML status page. Open http://127.0.0.1:8080/fn/status in a browser.
local function row(name, value)
  return "<tr><th>" .. html.escape(name) .. "<td>" .. html.escape(tostring(value))
end

return function(request)
  local rows = {
    row("Time", time.format(time.unix())),
    row("You come from", request.remote_addr),
    row("Your browser", request.headers["user-agent"] or "unknown"),
    row("Invocation", request.id),
  }
  return {
    headers = { ["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store" },
    body = "<!doctype html><html lang=en><meta charset=utf-8><title>Status</title><h1>All is well</h1><table>"
      .. table.concat(rows) .. "</table></html>",
  }
end
