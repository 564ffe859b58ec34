-- A small JSON API. Files with data, modules with what is done; main.lua only decides who answers.
--   picloud deploy config/examples/shop
--   curl http://127.0.0.1:8080/shop/items/tea
--   curl -d '{"items": [{"id": "tea", "count": 2}]}' http://127.0.0.1:8080/shop/quotes

-- collection → method → handler(id, request); `all` without an id, `one` with it
local collections = {
  items = require "shop.items", -- the file shop/items.lua
  quotes = require "shop.quotes",
}

-- The route's {collection} and {id}; under /fn/shop/… one `rest` holds both.
local function address(params)
  if params.rest then
    return params.rest:match("^([^/]*)/?(.*)$")
  end
  return params.collection, params.id or ""
end

local function methods_of(handlers)
  local names = {}
  for name in pairs(handlers) do
    names[#names + 1] = name
  end
  table.sort(names)
  return table.concat(names, ", ")
end

return function(request)
  local name, id = address(request.params)
  local collection = collections[name]
  local handlers = collection and (id == "" and collection.all or id ~= "" and collection.one)
  if not handlers then
    return { status = 404, body = { problem = "there is nothing at " .. request.path } }
  end
  local handle = handlers[request.method == "HEAD" and "GET" or request.method]
  if not handle then
    local allowed = methods_of(handlers)
    return { status = 405, headers = { allow = allowed }, body = { problem = "only " .. allowed .. " here" } }
  end
  return handle(id, request)
end
