-- Owns: `template`, a part of Mustache: {{name}} escaped for HTML, {{{name}}} as it is, {{#name}}…{{/name}} for each of a
-- list or if there is something, {{^name}}…{{/name}} if there is nothing, {{! a comment }}.
-- A template is read into a tree, and the tree is walked: no code is made of it, and no value is read as a template.
local modules = ...
local fault, html, json = modules.fault, modules.html, modules.json

local byte, find, gmatch, gsub, match, sub = string.byte, string.find, string.gmatch, string.gsub, string.match, string.sub
local concat = table.concat
local getmetatable = debug.getmetatable
local next, rawequal, rawget, rawlen, tostring, type = next, rawequal, rawget, rawlen, tostring, type
local escape, raise, text_argument = html.public.escape, fault.raise, fault.text_argument

local DEPTH_MAX = 32 -- of sections in sections
local SHOWN_BYTES = 60
local KINDS = { ["#"] = "some", ["^"] = "none", ["/"] = "close", ["!"] = "comment", ["{"] = "raw" }
local LINE_FEED, BLANK = byte("\n"), { [byte(" ")] = true, [byte("\t")] = true }

-- An error at a byte of a template.
local function fail(source, at, message)
  local _, before = gsub(sub(source.text, 1, at - 1), "\n", "")
  raise(source.name .. ":" .. before + 1 .. ": " .. message)
end

local function shown(tag)
  return sub(tag, 1, SHOWN_BYTES) .. (#tag > SHOWN_BYTES and "…" or "")
end

-- "a.b" → {"a", "b"}; "." → {}: the item itself; nil for what is no name
local function path_of(name)
  local path = {}
  if name == "." then
    return path
  end
  for part in gmatch(name or "", "[^.]+") do
    path[#path + 1] = part
  end
  return path[1] and concat(path, ".") == name and path or nil
end

-- The first tag from AT on, nil if there is none: its kind and name, where it begins and ends.
local function next_tag(source, at)
  local text = source.text
  local start = find(text, "{{", at, true)
  if not start then
    return nil
  end
  local kind = KINDS[sub(text, start + 2, start + 2)]
  local closing = kind == "raw" and "}}}" or "}}"
  local last = find(text, closing, start + 2, true)
  if not last then
    fail(source, start, "'" .. closing .. "' is missing after " .. shown(match(text, "^[^\n]*", start)))
  end
  local tag = { at = start, kind = kind or "value", stop = last + #closing - 1 }
  tag.text = shown(sub(text, start, tag.stop))
  if kind ~= "comment" then
    tag.name = match(sub(text, start + (kind and 3 or 2), last - 1), "^%s*([%w_.-]+)%s*$")
    tag.path = path_of(tag.name)
    if not tag.path then
      fail(source, start, tag.text .. " is no tag: a name has letters, digits, '_' and '-', and dots between")
    end
  end
  return tag
end

-- Where the text before a tag ends, and where that after it begins: a tag that shows nothing, alone on its line, takes
-- the line along.
local function borders(text, tag)
  local before, after = tag.at - 1, tag.stop + 1
  if tag.kind == "value" or tag.kind == "raw" then
    return before, after
  end
  local start = before
  while BLANK[byte(text, start)] do
    start = start - 1
  end
  local _, stop = find(text, "^[ \t]*\r?\n", after)
  stop = stop or find(text, "^[ \t]*$", after) and #text
  if stop and (start == 0 or byte(text, start) == LINE_FEED) then
    return start, stop + 1
  end
  return before, after
end

-- The part that TAG adds to: PART itself, a section that it opens, or the one around the section that it closes.
local function placed(source, part, tag)
  if tag.kind == "comment" then
    return part
  elseif tag.kind == "close" then
    if tag.name ~= part.name then
      fail(source, tag.at, tag.text .. " closes nothing" .. (part.text and ": " .. part.text .. " is open" or ""))
    end
    return part.around
  end
  part[#part + 1] = tag
  if tag.kind == "value" or tag.kind == "raw" then
    return part
  end
  tag.around, tag.depth = part, part.depth + 1
  if tag.depth > DEPTH_MAX then
    fail(source, tag.at, "more than " .. DEPTH_MAX .. " sections are open")
  end
  return tag
end

-- A tree: a list of texts and tags, of which those that are sections are lists as well.
local function parse(source)
  local text, root, at = source.text, { depth = 0 }, 1
  local part, tag = root, next_tag(source, 1)
  while tag do
    local before, after = borders(text, tag)
    if before >= at then
      part[#part + 1] = sub(text, at, before)
    end
    part, at = placed(source, part, tag), after
    tag = next_tag(source, at)
  end
  if part ~= root then
    fail(source, part.at, part.text .. " is not closed")
  end
  root[#root + 1] = sub(text, at)
  return root
end

local function member(value, name)
  if type(value) == "table" then
    return value[name]
  end
  return nil
end

-- The value of a path: its first name in the innermost item that has it, each further one in the value before.
local function look_up(path, items)
  local at = #items
  local value = items[at]
  if path[1] then
    value = member(value, path[1])
    while value == nil and at > 1 do
      at = at - 1
      value = member(items[at], path[1])
    end
  end
  for step = 2, #path do
    value = member(value, path[step])
  end
  return value
end

local function is_list(value)
  return type(value) == "table" and (rawlen(value) > 0 or getmetatable(value) == json.ARRAY)
end

-- What a section is not shown for.
local function is_nothing(value)
  return value == nil or value == false or value == ""
    or type(value) == "table" and (rawequal(value, json.null) or next(value) == nil)
end

local function text_of(source, tag, value)
  local kind = type(value)
  if kind == "string" then
    return value
  elseif kind == "number" or kind == "boolean" then
    return tostring(value)
  elseif value == nil or rawequal(value, json.null) then
    return ""
  end
  fail(source, tag.at, tag.text .. " is a " .. kind .. ", not text")
end

local show

-- Its parts for each item of a list, or once for another value; names are looked up in that first.
local function show_section(source, section, items, out)
  local value, depth = look_up(section.path, items), #items
  local nothing = is_nothing(value)
  if section.kind == "none" then
    return nothing and show(source, section, items, out)
  elseif nothing then
    return nil
  end
  local list = is_list(value) and value or { value }
  for at = 1, rawlen(list) do
    local item = rawget(list, at)
    if item ~= nil then
      items[depth + 1] = item
      show(source, section, items, out)
    end
  end
  items[depth + 1] = nil
end

function show(source, parts, items, out)
  for at = 1, #parts do
    local part = parts[at]
    if type(part) == "string" then
      out[#out + 1] = part
    elseif part.kind == "some" or part.kind == "none" then
      show_section(source, part, items, out)
    else
      local text = text_of(source, part, look_up(part.path, items))
      out[#out + 1] = part.kind == "raw" and text or escape(text)
    end
  end
end

local function compile(text, name, caller)
  local source = { text = text_argument(text, caller) }
  source.name = name == nil and "template" or text_argument(name, caller .. ": name")
  local tree = parse(source)
  return function(data)
    if type(data) ~= "table" then
      raise(source.name .. " needs a table of values, not " .. type(data))
    end
    local out = {}
    show(source, tree, { data }, out)
    return concat(out)
  end
end

local public = {}

-- template.compile(text[, name]) → a function: data → text; `name` is for errors
function public.compile(text, name)
  local render = compile(text, name, "template.compile")
  return render
end

-- template.render(text, data[, name]) → text
function public.render(text, data, name)
  local shown = compile(text, name, "template.render")(data)
  return shown
end

return { public = public }
