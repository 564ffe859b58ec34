-- A hit counter, of each page and of today: <img src="http://127.0.0.1:8080/fn/hits/blog/first.svg" alt="visits">
-- curl http://127.0.0.1:8080/fn/hits/blog/first                                                    the same as JSON
local TWO_DAYS_S = 2 * 24 * 60 * 60

local SVG = [[
<svg xmlns="http://www.w3.org/2000/svg" width="120" height="20" role="img" aria-label="%d visits">
<rect width="120" height="20" rx="3" fill="#424242"/>
<text x="60" y="14" fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">%d visits</text></svg>
]]

-- Each `kv.incr` is one statement: thousands at once count to the thousand. The day's key goes by itself.
local function count(page)
  local today = time.format(time.unix()):sub(1, 10)
  return {
    page = page,
    total = kv.incr("total/" .. page),
    today = kv.incr("day/" .. today .. "/" .. page, 1, { ttl = TWO_DAYS_S }),
  }
end

return function(request)
  local path = request.params.rest or "start"
  if #path > 200 then
    error{ status = 414, body = "a page's name has at most 200 bytes\n" }
  end
  local page = path:gsub("%.svg$", "")
  local counted = count(page)
  if page == path then
    return counted
  end
  return {
    headers = { ["content-type"] = "image/svg+xml", ["cache-control"] = "no-store" },
    body = SVG:format(counted.total, counted.total),
  }
end
