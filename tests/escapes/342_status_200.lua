-- expect: 200 body=""
return { status = 200 }
