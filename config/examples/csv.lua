-- CSV to JSON (RFC 4180): the first row names the fields, each other row becomes an object.
-- curl --data-binary @people.csv http://127.0.0.1:8080/fn/csv           `?delimiter=;` takes another than the comma
local BYTE_ORDER_MARK = "^\xEF\xBB\xBF"

-- The body is wrong: say where.
local function refuse(line, problem)
  error{ status = 422, body = { line = line, problem = problem } }
end

local function line_breaks(text)
  local _, count = text:gsub("\n", "")
  return count
end

-- The field that begins at AT → its text, and the place after it. In a quoted one, a quote is written twice.
local function read_field(text, at, plain, line)
  if text:sub(at, at) ~= '"' then
    return text:match(plain, at)
  end
  local from = at + 1
  while true do
    local quote = text:find('"', from, true) or refuse(line, "a quote is not closed")
    if text:sub(quote + 1, quote + 1) ~= '"' then
      return (text:sub(at + 1, quote - 1):gsub('""', '"')), quote + 1
    end
    from = quote + 2
  end
end

-- Text that ends with a line break → rows: lists of fields, each with the line where it began. Empty lines are no rows.
local function rows_of(text, delimiter)
  local plain = '^([^"\r\n%' .. delimiter .. "]*)()" -- () gives the place after the match
  local rows, line, at = {}, 1, 1
  local row = { line = line }
  while at <= #text do
    local field, stop = read_field(text, at, plain, line)
    row[#row + 1] = field
    line = line + line_breaks(field)
    if text:sub(stop, stop) == delimiter then
      at = stop + 1
    else
      at = text:match("^\r?\n()", stop) or refuse(line, "after a field comes a delimiter or the end of the line")
      if #row > 1 or row[1] ~= "" then
        rows[#rows + 1] = row
      end
      line = line + 1
      row = { line = line }
    end
  end
  return rows
end

-- The names that the first row gives, each once.
local function names_of(row)
  local seen = {}
  for _, name in ipairs(row) do
    if name == "" or seen[name] then
      refuse(row.line, name == "" and "a field has no name" or "two fields have the name '" .. name .. "'")
    end
    seen[name] = true
  end
  return row
end

return function(request)
  local delimiter = request.query.delimiter or ","
  if not delimiter:find("^[,;|\t]$") then
    error{ status = 422, body = { problem = "delimiter is one of , ; | and the tab" } }
  end
  local text = request.body:gsub(BYTE_ORDER_MARK, "") .. "\n"
  local is_utf8, bad = utf8.len(text)
  if not is_utf8 then
    refuse(line_breaks(text:sub(1, bad)) + 1, "this is no UTF-8")
  end
  local rows = rows_of(text, delimiter)
  local names = names_of(rows[1] or refuse(1, "there is nothing here"))
  local objects = json.array{} -- an array also if it stays empty
  for at = 2, #rows do
    local row, object = rows[at], {}
    if #row ~= #names then
      refuse(row.line, #row .. " fields, but the first row names " .. #names)
    end
    for field, name in ipairs(names) do
      object[name] = row[field]
    end
    objects[at - 1] = object
  end
  return objects
end
