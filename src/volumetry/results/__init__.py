"""From the files of many runs to one table with error bars."""
