"""The predictor as a page and a service, and the page that collects ratings: one server, one set of limits."""
