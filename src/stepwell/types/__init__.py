"""What everything else is about and imports nothing above: element types, layouts, targets."""
