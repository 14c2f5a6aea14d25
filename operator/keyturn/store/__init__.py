"""The encrypted database: values, keys and, later, the trail. Knows no cluster and no provider."""
