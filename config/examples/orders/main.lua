-- Takes orders, and says what has happened: whoever wants to know is subscribed, as config/examples/stock is.
-- The order and its event are stored in one commit: nobody hears of an order that is not there.
--   picloud deploy config/examples/orders
--   picloud deploy config/examples/stock
--   curl -d '{"item": "tea", "count": 2}' -H 'Content-Type: application/json' http://127.0.0.1:8080/orders
--   curl http://127.0.0.1:8080/stock

local function refuse(problem)
  error{ status = 422, body = { problem = problem } }
end

return function(request)
  local wanted = request:json()
  if type(wanted) ~= "table" or type(wanted.item) ~= "string" or not wanted.item:find("^%l+$") then
    refuse("item must be a word of small letters")
  end
  local count = math.tointeger(wanted.count)
  if not count or count < 1 or count > 100 then
    refuse("count must be a whole number from 1 to 100")
  end
  local number = kv.incr("orders")
  local order = { order = number, item = wanted.item, count = count }
  kv.set("order/" .. number, order)
  events.publish("order.created", order, { subject = wanted.item })
  return { status = 201, body = order }
end
