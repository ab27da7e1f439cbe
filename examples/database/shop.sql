-- A small shop: customers, products, orders.
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE,
    name text NOT NULL,
    phone text
);
CREATE TABLE products (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title text NOT NULL,
    price numeric(10, 2) NOT NULL CHECK (price >= 0),
    discontinued boolean NOT NULL DEFAULT false
);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customers,
    product_id bigint NOT NULL REFERENCES products,
    quantity integer NOT NULL CHECK (quantity > 0),
    placed_at timestamptz NOT NULL DEFAULT now()
);
CREATE VIEW revenue AS
SELECT p.title, sum(o.quantity * p.price) AS total
FROM orders o JOIN products p ON p.id = o.product_id
GROUP BY p.title;

INSERT INTO customers (email, name, phone)
SELECT 'customer' || i || '@example.org', 'Customer ' || i, '+49 30 ' || (1000000 + i)
FROM generate_series(1, 2000) AS i;
INSERT INTO products (title, price)
SELECT 'Product ' || i, (i * 37 % 5000) / 100.0 FROM generate_series(1, 200) AS i;
INSERT INTO orders (customer_id, product_id, quantity, placed_at)
SELECT 1 + i % 2000, 1 + i % 200, 1 + i % 5, timestamptz '2026-01-01' + i * interval '7 minutes'
FROM generate_series(1, 50000) AS i;
