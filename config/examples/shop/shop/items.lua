-- What there is to buy; prices in cents, because a float is no money.
local items = json.decode(files.read("items.json"))

local M = { items = items, all = {}, one = {} }

function M.all.GET(_, request)
  local found = json.array{}
  for _, item in ipairs(items) do
    if not request.query.q or item.name:lower():find(request.query.q:lower(), 1, true) then
      found[#found + 1] = item
    end
  end
  return { body = { items = found } } -- `body`, so that no field of ours is taken for `status` or `headers`
end

-- The item of an id, or nil.
function M.find(id)
  for _, item in ipairs(items) do
    if item.id == id then
      return item
    end
  end
  return nil
end

function M.one.GET(id)
  local item = M.find(id)
  if not item then
    return { status = 404, body = { problem = "there is no item '" .. id .. "'" } }
  end
  return { body = item }
end

return M
