ALTER TABLE orders ADD COLUMN status text NOT NULL DEFAULT 'placed';
CREATE INDEX orders_customer ON orders (customer_id);
ALTER TABLE customers DROP COLUMN phone;
