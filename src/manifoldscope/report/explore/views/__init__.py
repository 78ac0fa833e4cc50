"""The views of the page, a file each: what each shows; `report/web/views` has a file of the same name that draws it."""
