module cairn/examples/list

go 1.19
