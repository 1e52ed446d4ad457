module skylinedb-example

go 1.19
