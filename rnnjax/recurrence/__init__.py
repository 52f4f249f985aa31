"""The recurrence: a cell over time."""
