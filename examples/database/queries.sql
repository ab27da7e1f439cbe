SELECT * FROM orders WHERE customer_id = 42;
SELECT * FROM revenue ORDER BY total DESC LIMIT 10;
