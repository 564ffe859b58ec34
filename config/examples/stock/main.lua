-- Counts what was ordered, from the events of config/examples/orders: picloud.toml says which of them it hears.
-- Each event makes one job, stored with the order, and run until it is done: each order counts once.

local function count(event)
  local ordered = event.data
  return { item = ordered.item, ordered = kv.incr("item/" .. ordered.item, ordered.count) }
end

local function list()
  local counts = {}
  for _, entry in ipairs(kv.list{ prefix = "item/" }) do
    counts[entry.key:sub(#"item/" + 1)] = entry.value
  end
  return { body = counts }
end

return function(request)
  if request.trigger == "event" then
    return { body = count(request.event) }
  end
  return list()
end
