"""From landed to paid: land, plan, merge, pay."""
