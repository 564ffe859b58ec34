-- expect: 201
return { status = 201.0 }
