-- An SVG badge for a README: ![build](http://127.0.0.1:8080/fn/badge?label=build&message=passing&color=green)
local COLORS = { green = "#2e7d32", red = "#c62828", orange = "#ef6c00", blue = "#1565c0", grey = "#616161" }
local CHARS_MAX = 60

-- Text from the query: never empty, never long.
local function text_of(value, default)
  value = value or default
  if (utf8.len(value) or CHARS_MAX + 1) > CHARS_MAX then
    error{ status = 422, body = "label and message are UTF-8 of at most " .. CHARS_MAX .. " characters\n" }
  end
  return value
end

-- A name of ours, or six hexadecimal digits: nothing else gets into the picture.
local function color_of(value)
  return COLORS[value] or value:match("^%x%x%x%x%x%x$") and "#" .. value or COLORS.grey
end

local function width_of(text)
  return 10 + 7 * utf8.len(text) -- pixels, for a font of 11 px
end

local SVG = [[
<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="20" role="img" aria-label="%s">
<rect width="%d" height="20" fill="#424242"/><rect x="%d" width="%d" height="20" fill="%s"/>
<g fill="#fff" font-family="Verdana,sans-serif" font-size="11" text-anchor="middle">
<text x="%d" y="14">%s</text><text x="%d" y="14">%s</text></g></svg>
]]

return function(request)
  local label, message = text_of(request.query.label, "status"), text_of(request.query.message, "unknown")
  local left, right = width_of(label), width_of(message)
  label, message = html.escape(label), html.escape(message) -- the same five characters matter in SVG
  return {
    headers = { ["content-type"] = "image/svg+xml; charset=utf-8", ["cache-control"] = "max-age=300" },
    body = SVG:format(
      left + right, label .. ": " .. message,
      left, left, right, color_of(request.query.color or ""),
      left // 2, label, left + right // 2, message
    ),
  }
end
