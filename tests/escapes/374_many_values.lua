-- expect: 200 body="first"
return "first", print, {}, coroutine.create(print)
