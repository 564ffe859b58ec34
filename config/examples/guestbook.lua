-- A guestbook: a page with a form, and what the last guests wrote. Open http://127.0.0.1:8080/fn/guestbook in a browser.
local SHOWN = 20
local FIELDS = { name = 60, text = 500 } -- the most characters of each

-- Keys come in the order of their bytes: counting down from the end of time puts the newest first.
local function key_of(seconds, id)
  return ("entry/%014d/%s"):format(99999999999999 - math.floor(seconds * 1000), id)
end

local function entry_html(entry)
  return ("<article><h2>%s</h2><p>%s</p><time>%s</time></article>"):format(
    html.escape(entry.value.name), html.escape(entry.value.text), time.format(entry.value.at)
  )
end

local function page(status, mistake)
  local parts = {}
  for at, entry in ipairs(kv.list{ prefix = "entry/", limit = SHOWN }) do
    parts[at] = entry_html(entry)
  end
  return {
    status = status,
    headers = { ["content-type"] = "text/html; charset=utf-8", ["cache-control"] = "no-store" },
    body = "<!doctype html><html lang=en><meta charset=utf-8><title>Guestbook</title><h1>Guestbook</h1>"
      .. (mistake and "<p><strong>" .. html.escape(mistake) .. "</strong>" or "")
      .. "<form method=post><p><label>Your name <input name=name></label>"
      .. "<p><label>Your words <textarea name=text></textarea></label>"
      .. '<p hidden><label>Leave this empty <input name=website autocomplete=off></label>' -- only machines fill it in
      .. "<p><button>Sign</button></form>" .. table.concat(parts) .. "</html>\n",
  }
end

-- What is wrong with a guest's words; nil if nothing is.
local function mistake_of(entry)
  for _, name in ipairs{ "name", "text" } do
    local chars = utf8.len(entry[name])
    if not entry[name]:find("%S") then
      return "your " .. name .. " is missing"
    elseif not chars or chars > FIELDS[name] then
      return "your " .. name .. " has more than " .. FIELDS[name] .. " characters"
    end
  end
end

local function sign(request)
  local fields = request:form()
  local entry = { name = fields.name or "", text = fields.text or "", at = time.now() }
  local mistake = mistake_of(entry)
  if mistake then
    return page(422, mistake)
  end
  if (fields.website or "") == "" then
    kv.set(key_of(entry.at, request.id), entry)
  end
  return { status = 303, headers = { location = "?" }, body = "" } -- so that reloading does not sign again
end

return function(request)
  return request.method == "POST" and sign(request) or page(200)
end
