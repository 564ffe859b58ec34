-- A contact form: shows itself, checks what comes in, and thanks. `picloud logs form` shows what people wrote.
-- Open http://127.0.0.1:8080/fn/form in a browser.
local FIELDS = {
  { name = "name", label = "Your name", chars_max = 80 },
  { name = "email", label = "Your e-mail", chars_max = 120, pattern = "^[^@%s]+@[^@%s]+%.[^@%s]+$" },
  { name = "message", label = "Your message", chars_max = 2000 },
}

-- What is wrong with the values: field name → words for a person. Empty if all is well.
local function mistakes_of(values)
  local mistakes = {}
  for _, field in ipairs(FIELDS) do
    local value = values[field.name] or ""
    local chars = utf8.len(value) -- nil if it is no UTF-8
    if not value:find("%S") then
      mistakes[field.name] = "is missing"
    elseif not chars or chars > field.chars_max then
      mistakes[field.name] = "has more than " .. field.chars_max .. " characters"
    elseif field.pattern and not value:find(field.pattern) then
      mistakes[field.name] = "does not look right"
    end
  end
  return mistakes
end

local function page(status, content)
  return {
    status = status,
    headers = { ["content-type"] = "text/html; charset=utf-8" },
    body = "<!doctype html><html lang=en><meta charset=utf-8><title>Contact</title>" .. content .. "</html>\n",
  }
end

-- The form with what was typed before. Whatever came from outside goes through html.escape.
local function form(values, mistakes)
  local html_of = { "<h1>Write to us</h1><form method=post>" }
  for _, field in ipairs(FIELDS) do
    local mistake = mistakes[field.name]
    html_of[#html_of + 1] = '<p><label>' .. field.label
      .. ' <input name="' .. field.name .. '" value="' .. html.escape(values[field.name] or "") .. '"></label>'
      .. (mistake and " <strong>" .. html.escape(mistake) .. "</strong>" or "")
  end
  html_of[#html_of + 1] = "<p><button>Send</button></form>"
  return table.concat(html_of)
end

return function(request)
  if request.method == "POST" then
    local values = request:form() -- not a form: the caller is answered 400
    local mistakes = mistakes_of(values)
    if next(mistakes) then
      return page(422, form(values, mistakes))
    end
    log.info("message", { name = values.name, email = values.email, message = values.message })
    -- Redirect after POST: reloading the page does not send the message twice.
    return { status = 303, headers = { location = "?sent=yes" } }
  elseif request.query.sent then
    return page(200, "<h1>Thank you</h1><p>We have your message.")
  end
  return page(200, form({}, {}))
end
