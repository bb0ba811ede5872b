"""What is measured: a network and its examples, and the levels they put weights on. Imports
``engines`` and what is below."""
