"""Every process of a running chain is killed and paused at random moments, and the tables judged.

``make chaos-short`` and ``make chaos`` run it. Nothing here is collected by pytest.
"""
