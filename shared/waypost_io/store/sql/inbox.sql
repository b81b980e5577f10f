-- name: inbox
-- Log.inbox: messages between runs that a new owner delivers again.
SELECT message_id, run_id, partition, subject, body
  FROM inbox
 WHERE partition = $1 AND message_id > $2
 ORDER BY message_id
 LIMIT $3;
