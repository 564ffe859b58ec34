-- What an order would cost. Nothing is kept: the answer follows from the question.
local find = require("shop.items").find

local COUNT_MAX = 100

-- Everything that is wrong with an order, one entry a field; empty if nothing is.
local function mistakes_of(order)
  local mistakes = json.array{}
  local function add(field, message)
    mistakes[#mistakes + 1] = { field = field, message = message }
  end
  if type(order) ~= "table" or type(order.items) ~= "table" or #order.items == 0 then
    add("items", "must be a list with at least one item")
    return mistakes
  end
  for at, line in ipairs(order.items) do
    local where = "items[" .. at .. "]"
    if type(line) ~= "table" or not find(line.id) then
      add(where .. ".id", "is the id of no item")
    elseif math.type(line.count) ~= "integer" or line.count < 1 or line.count > COUNT_MAX then
      add(where .. ".count", "must be a whole number from 1 to " .. COUNT_MAX)
    end
  end
  return mistakes
end

local M = { all = {} }

function M.all.POST(_, request)
  local order = request:json() -- what is no JSON is answered with 400
  local mistakes = mistakes_of(order)
  if #mistakes > 0 then
    return { status = 422, body = { problem = "this cannot be ordered", errors = mistakes } }
  end
  local total, lines = 0, json.array{}
  for at, line in ipairs(order.items) do
    local cents = find(line.id).cents * line.count
    lines[at] = { id = line.id, count = line.count, cents = cents }
    total = total + cents
  end
  return { body = { lines = lines, total_cents = total } }
end

return M
