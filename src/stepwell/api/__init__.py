"""The public calls: compile, import, lower, interpret, compare, bench. `stepwell` itself hands them out lazily."""
