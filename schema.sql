-- The tables of the gateway: the truth about what is stored. `python -m service.runtime.migrate` applies each numbered section
-- once, in order, under a lock; a shipped section never changes, a change is a new section. All in one transaction; beside rows
-- of an earlier version, a section with CONCURRENTLY goes statement by statement.
-- json, not jsonb: Meta's bodies may hold \u0000 and lone surrogates, which jsonb refuses and json keeps.

-- version 1

CREATE TABLE whatsapp_cloud_account (
    chatbot_id text PRIMARY KEY CHECK (length(chatbot_id) BETWEEN 1 AND 255),
    phone_number_id text NOT NULL UNIQUE,
    waba_id text,
    name text,
    access_token text NOT NULL,             -- this and the two below: Fernet tokens (service/runtime/encryption.py)
    app_secret text,                        -- set: the account has a Meta app of its own and is served on its own path alone
    webhook_verify_token text,
    responder json,                         -- {"kind": …} without its secret; null: AI_* of the environment
    responder_secret text,                  -- Fernet token: api_key (openai) or secret (http)
    max_mps integer CHECK (max_mps > 0),    -- messages per second; null: SEND_RATE
    on_unknown text NOT NULL DEFAULT 'resend' CHECK (on_unknown IN ('resend', 'fail')),
    active boolean NOT NULL DEFAULT true,
    send_state text NOT NULL DEFAULT 'ok'
        CHECK (send_state IN ('ok',         -- messages leave
                              'held')),     -- Meta refuses the account (class C): they wait for a new token or a resume
    send_state_reason json,                 -- Meta's error that held it
    send_state_since timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- One person (or one group) who talks with one chatbot.
CREATE TABLE conversation (
    id uuid PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    wa_id text,                             -- the phone in digits, null while Meta hides it
    user_id text,                           -- business-scoped user id (BSUID)
    parent_user_id text,
    group_id text,                          -- set: a group, and the three above are null
    username text,
    name text,
    last_inbound_at timestamptz,            -- Meta's time of the customer's last message; the 24-hour window counts from it
    last_message_at timestamptz,
    paused_until timestamptz,               -- no reply is asked for before it
    reply_due_at timestamptz,               -- a customer waits for a reply, to be asked for from then on
    reply_lease_until timestamptz,          -- somebody asks the responder now, and has until then
    reply_claim uuid,                       -- who asks; a late answer of an earlier claim finds it changed
    reply_attempts smallint NOT NULL DEFAULT 0,
    reply_error json,                       -- why the responder was given up on, null after the next success
    send_after timestamptz,                 -- nothing leaves to this conversation before it: one message at a time, in order
    pair_free_at timestamptz,               -- when the pair has no borrowed burst left to pay back (one per 6 s, section 8)
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 80);
CREATE INDEX conversation_by_chatbot ON conversation (chatbot_id, id);
CREATE INDEX conversation_reply_due ON conversation (reply_due_at) WHERE reply_due_at IS NOT NULL;

-- Whom a conversation is known by: any of these may be missing, come later or move to somebody else.
CREATE TABLE conversation_identity (
    chatbot_id text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('phone', 'user', 'group')),
    value text NOT NULL CHECK (length(value) BETWEEN 1 AND 255),
    conversation_id uuid NOT NULL REFERENCES conversation,
    PRIMARY KEY (chatbot_id, kind, value)
);
CREATE INDEX conversation_identity_of ON conversation_identity (conversation_id);

-- One message to many. Its state is the batch's own; what became of each message stands in `message`.
CREATE TABLE batch (
    id uuid PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    status text NOT NULL DEFAULT 'running'
        CHECK (status IN ('running',        -- its messages leave, or have left
                          'paused',         -- by a person, or by itself (reason): its messages are held
                          'cancelled')),    -- for good
    reason json,                            -- Meta's error that paused it
    recipients integer NOT NULL,            -- rows that came in
    rejected integer NOT NULL DEFAULT 0,    -- of them: not valid
    duplicates integer NOT NULL DEFAULT 0,  -- of them: the recipient stood in an earlier row
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX batch_by_chatbot ON batch (chatbot_id, id);

-- What Meta's webhooks last said of a template.
CREATE TABLE template (
    waba_id text NOT NULL,
    name text NOT NULL CHECK (length(name) <= 512),
    language text NOT NULL CHECK (length(language) <= 64),
    status text,                            -- Meta's event: APPROVED, PAUSED, DISABLED, …
    category text,                          -- lower case: marketing, utility, authentication
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (waba_id, name, language)
);

CREATE TABLE webhook_event (
    id uuid PRIMARY KEY,
    path text NOT NULL DEFAULT '',          -- the chatbot_id in the URL; '' on the shared path
    status text NOT NULL DEFAULT 'received'
        CHECK (status IN ('received',       -- committed, answered with 200, waits for a worker
                          'processed',      -- every item has its outcome in `items`
                          'failed',         -- could not be worked off in four attempts; may be replayed
                          'quarantined')),  -- properly signed, but not a JSON object
    digest bytea NOT NULL,                  -- the verified HMAC: equal bytes on one path are one event
    size integer NOT NULL,
    body bytea NOT NULL,                    -- as received: the signature covers these bytes, and text columns could not hold all of them
    items json,
    unserved boolean NOT NULL DEFAULT false, -- an item was refused: a redelivery is worth another look
    attempts smallint NOT NULL DEFAULT 0,
    error text,
    due_at timestamptz NOT NULL DEFAULT now(),
    received_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    UNIQUE (digest, path)
);
CREATE INDEX webhook_event_due ON webhook_event (id) WHERE status = 'received';

CREATE TABLE message (
    id uuid PRIMARY KEY,                    -- UUIDv7: in the order of creation
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    conversation_id uuid NOT NULL REFERENCES conversation,
    direction text NOT NULL CHECK (direction IN ('inbound', 'outbound')),
    phone_number_id text NOT NULL,          -- ours, at that time
    type text NOT NULL,
    status text NOT NULL
        CHECK (status IN ('received',       -- inbound
                          'scheduled',      -- waits for due_at, the caller's send_at
                          'queued',         -- waits for due_at
                          'sending',        -- a worker has it until due_at (its lease)
                          'accepted',       -- Meta gave a wamid
                          'sent', 'delivered', 'read', 'played',    -- Meta's statuses, forward only
                          'failed',         -- for good, see error
                          'unknown',        -- it left, no answer came; at due_at the account's on_unknown decides
                          'held',           -- cannot be sent now, see hold_reason
                          'cancelled',      -- by a person, before it was claimed
                          'expired')),      -- expires_at passed before it was sent
    hold_reason text CHECK (hold_reason IN (
        'account',                          -- Meta refuses the account, or it is not active
        'batch',                            -- its batch is paused
        'template')),                       -- its template is paused, until Meta's webhook
    batch_id uuid REFERENCES batch,
    wamid text CHECK (length(wamid) <= 512),
    recipient_to text,                      -- as the caller gave it
    recipient text,                         -- a BSUID, as the caller gave it
    sender json,                            -- inbound: {"from", "from_user_id", "group_id"} as Meta gave them
    content json NOT NULL,                  -- what stands under the key named like the type
    context json,                           -- the message replied to, Meta's form
    extra json,                             -- inbound: the other keys of Meta's message; outbound: recipient_type and the like
    client_reference text,
    answer_wa_id text,                      -- what Meta made of recipient_to
    priority smallint NOT NULL DEFAULT 1,   -- 0 a reply, 1 a single send, 2 bulk
    due_at timestamptz,                     -- when somebody has to look at the row again; see status
    attempts smallint NOT NULL DEFAULT 0,
    resends smallint NOT NULL DEFAULT 0,    -- how often on_unknown = resend was used: once at most
    error json,
    tries jsonb NOT NULL DEFAULT '[]',      -- the attempts that Meta did not accept: {attempt, at, outcome, code, title}
    send_at timestamptz,                    -- the caller's wish
    expires_at timestamptz,                 -- never sent after it
    timestamp timestamptz,                  -- inbound: Meta's time
    accepted_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((direction = 'inbound') = (status = 'received')),
    CHECK ((status IN ('scheduled', 'queued', 'sending', 'unknown')) <= (due_at IS NOT NULL)),
    CHECK ((status = 'held') = (hold_reason IS NOT NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX message_inbound ON message (phone_number_id, wamid) WHERE direction = 'inbound';
CREATE INDEX message_outbound ON message (phone_number_id, wamid) WHERE direction = 'outbound' AND wamid IS NOT NULL;
CREATE INDEX message_by_chatbot ON message (chatbot_id, id);
CREATE INDEX message_by_conversation ON message (conversation_id, id);
CREATE INDEX message_queued ON message (chatbot_id, priority, id) WHERE status = 'queued';
CREATE INDEX message_held ON message (chatbot_id) WHERE status = 'held';
CREATE INDEX message_due ON message (due_at) WHERE status IN ('scheduled', 'queued', 'sending', 'unknown');
CREATE INDEX message_expiring ON message (expires_at)
    WHERE expires_at IS NOT NULL AND status IN ('scheduled', 'queued', 'held');
CREATE INDEX message_by_batch ON message (batch_id) WHERE batch_id IS NOT NULL;
CREATE INDEX message_of_batch_waiting ON message (batch_id)
    WHERE batch_id IS NOT NULL AND status IN ('scheduled', 'queued');

-- What Meta said about a message, each once, with Meta's own time; also what came before we knew the message.
CREATE TABLE message_status (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    message_id uuid REFERENCES message,     -- null: an orphan, joined when its message is known
    phone_number_id text NOT NULL,
    wamid text NOT NULL CHECK (length(wamid) <= 512),
    status text NOT NULL CHECK (length(status) <= 64),
    participant text NOT NULL DEFAULT '' CHECK (length(participant) <= 255),    -- of a group
    timestamp timestamptz,
    opaque text,                            -- biz_opaque_callback_data: our message id
    errors json,
    pricing json,
    recipient json,                         -- {"recipient_id", "recipient_user_id", …} as Meta gave them
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (phone_number_id, wamid, status, participant)
);
CREATE INDEX message_status_of ON message_status (message_id);
CREATE INDEX message_status_orphan ON message_status (received_at) WHERE message_id IS NULL;

-- What may be billed: a row for each message received, and for each that Meta accepted.
CREATE TABLE usage_log (
    message_id uuid PRIMARY KEY REFERENCES message,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    direction text NOT NULL,
    type text NOT NULL,
    category text,                          -- Meta's pricing category, null until a status brings it
    pricing json,
    at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_log_by_chatbot ON usage_log (chatbot_id, at);

-- The first answer to a request with an Idempotency-Key, kept at least 24 hours.
CREATE TABLE idempotency_key (
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_digest bytea NOT NULL,
    answer json NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chatbot_id, key)
);
CREATE INDEX idempotency_key_age ON idempotency_key (created_at);

-- version 2: the whole vocabulary, media, templates, identity without a phone number

ALTER TABLE whatsapp_cloud_account
    ADD COLUMN display_phone_number text,       -- learnt from Meta's webhooks, like a waba_id that was not given
    ADD COLUMN read_receipts text NOT NULL DEFAULT 'none'
        CHECK (read_receipts IN ('none',        -- before a reply is asked for, nothing is told
                                 'read',        -- the customer's ticks turn blue
                                 'typing')),    -- and the business is seen typing
    ADD COLUMN opt_out_words json,              -- a list; null: the default words
    ADD COLUMN opt_in_words json;

ALTER TABLE conversation
    ADD COLUMN opted_out_at timestamptz,        -- since then no marketing template goes to this person
    ADD COLUMN opted_out_by text CHECK (opted_out_by IN (
        'keyword',                              -- a STOP word of the customer's
        'user_preferences',                     -- the customer told WhatsApp (section 5)
        'meta',                                 -- Meta refused a message with 131050
        'api'));                                -- the platform
CREATE INDEX conversation_opted_out ON conversation (chatbot_id, id) WHERE opted_out_at IS NOT NULL;

ALTER TABLE conversation
    ADD COLUMN known_at timestamptz;            -- Meta's time of the latest evidence of its ids, name and username
CREATE INDEX conversation_by_username ON conversation (chatbot_id, username) WHERE username IS NOT NULL;

ALTER TABLE conversation_identity
    ADD COLUMN seen_at timestamptz,             -- Meta's time of the latest evidence, to the day; only later evidence moves a phone
    DROP CONSTRAINT conversation_identity_kind_check,
    ADD CONSTRAINT conversation_identity_kind_check CHECK (kind IN (
        'phone',                                -- in digits; whose it is now
        'user',                                 -- a BSUID: leads to one person for ever
        'parent',                               -- a parent BSUID, of linked portfolios
        'group',
        'former',                               -- a phone that was somebody's until seen_at
        'replaced'));                           -- a BSUID that has another one in its place since seen_at

UPDATE conversation_identity i SET seen_at = c.last_inbound_at FROM conversation c
WHERE c.id = i.conversation_id AND c.last_inbound_at IS NOT NULL AND (i.kind <> 'phone' OR i.value = c.wa_id);

-- Two conversations turned out to be one person's: the id of the one that is gone still finds the other.
CREATE TABLE conversation_merged (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation,
    merged_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX conversation_merged_into ON conversation_merged (conversation_id);

-- What changed of a person, for people to read: identities, opt-outs. `detail` says what and why.
CREATE TABLE contact_event (
    id uuid PRIMARY KEY,
    conversation_id uuid NOT NULL REFERENCES conversation,
    kind text NOT NULL,
    detail json,
    at timestamptz,                             -- Meta's time, null when it gave none
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX contact_event_of ON contact_event (conversation_id, id);

ALTER TABLE template
    ADD COLUMN id text,                         -- Meta's; those of older webhooks are not known
    ADD COLUMN components json,                 -- as Meta gives them; null until the first sync
    ADD COLUMN parameter_format text,           -- POSITIONAL or NAMED
    ADD COLUMN quality text,
    ADD COLUMN reason text,                     -- why it was rejected or paused
    ADD COLUMN synced_at timestamptz;

-- When the templates of a WABA are to be read again: the row is the work of workers/sync_templates.py.
CREATE TABLE template_sync (
    waba_id text PRIMARY KEY,
    due_at timestamptz DEFAULT now(),           -- null: rests until an account comes whose token may read them
    lease_until timestamptz,                    -- not before; who reads them has until then
    attempts smallint NOT NULL DEFAULT 0,
    error json,
    synced_at timestamptz
);
CREATE INDEX template_sync_due ON template_sync (due_at);
INSERT INTO template_sync (waba_id) SELECT DISTINCT waba_id FROM whatsapp_cloud_account WHERE waba_id IS NOT NULL;
CREATE INDEX template_stopped ON template (waba_id) WHERE status IN ('PAUSED', 'DISABLED', 'REJECTED', 'DELETED');

-- Which template a message is made from: looked for when Meta pauses one, or lets it go again.
ALTER TABLE message
    ADD COLUMN template_name text,
    ADD COLUMN template_language text;
UPDATE message SET template_name = left(content ->> 'name', 512),
    template_language = left(content -> 'language' ->> 'code', 64)
WHERE type = 'template' AND status IN ('scheduled', 'queued', 'sending', 'unknown', 'held')
  AND content::text !~* '\\u(0000|d[89a-f])';
CREATE INDEX message_of_template_waiting ON message (template_name, template_language)
    WHERE template_name IS NOT NULL AND status IN ('queued', 'held');
CREATE INDEX message_held_by_template ON message (template_name, template_language)
    WHERE status = 'held' AND hold_reason = 'template';

-- A file: it came with a message, or was uploaded to us to be sent.
CREATE TABLE media (
    id uuid PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    phone_number_id text,                       -- whose token fetches it; null: uploaded to us
    message_id uuid UNIQUE REFERENCES message,  -- that it came with; null: uploaded to us
    meta_id text,                               -- Meta's id of what came in: good for 7 days (section 6.3)
    status text NOT NULL
        CHECK (status IN ('fetching',           -- somebody has to fetch it at due_at
                          'stored',             -- lies in MEDIA_URL under storage_key
                          'failed')),           -- given up, see error
    mime_type text,
    filename text,                              -- as the sender named it: never a path
    sha256 bytea,                               -- of the stored bytes; before that, what Meta promised
    size bigint,                                -- bytes
    storage_key text,
    due_at timestamptz,
    attempts smallint NOT NULL DEFAULT 0,
    error json,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((status = 'fetching') = (due_at IS NOT NULL)),
    CHECK ((status = 'stored') <= (storage_key IS NOT NULL))
);
CREATE INDEX media_due ON media (due_at) WHERE status = 'fetching';

-- Meta's id for a file of ours: one for each number, good for 30 days.
CREATE TABLE media_upload (
    media_id uuid NOT NULL REFERENCES media,
    phone_number_id text NOT NULL,
    meta_id text,                               -- null while somebody uploads it
    lease_until timestamptz,                    -- who uploads it has until then
    uploaded_at timestamptz,
    PRIMARY KEY (media_id, phone_number_id)
);

-- A customer's message that is to be shown as read: the row is the work of workers/send_receipts.py.
CREATE TABLE read_receipt (
    message_id uuid PRIMARY KEY REFERENCES message,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    typing_until timestamptz,                   -- until then it is worth showing that the business types; null: no wish
    due_at timestamptz,                         -- null: told, or given up (error)
    attempts smallint NOT NULL DEFAULT 0,
    error json,
    told_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX read_receipt_due ON read_receipt (due_at) WHERE due_at IS NOT NULL;

ALTER TABLE message
    ADD COLUMN refers_to text CHECK (length(refers_to) <= 512), -- the wamid that a reaction, an edit or a revoke is about
    ADD COLUMN echo boolean NOT NULL DEFAULT false,     -- written by the business on its own phone
    ADD COLUMN marketing boolean NOT NULL DEFAULT false, -- a template of Meta's category marketing: not to who opted out
    ADD COLUMN fallback json,                           -- a template that goes instead when the window has closed
    ADD COLUMN replaced json;                           -- {"type", "content"} that the fallback took the place of
CREATE INDEX message_referring ON message (phone_number_id, refers_to) WHERE refers_to IS NOT NULL;
CREATE UNIQUE INDEX message_echo ON message (phone_number_id, wamid) WHERE echo;
-- PostgreSQL reads no text out of json with \u0000 or half a surrogate pair in it; an emoji is a whole one.
UPDATE message SET refers_to = left(coalesce(content ->> 'message_id', content ->> 'original_message_id'), 512)
WHERE type IN ('reaction', 'edit', 'revoke') AND json_typeof(content) = 'object'
  AND regexp_replace(content::text, '\\ud[89ab][0-9a-f]{2}\\ud[c-f][0-9a-f]{2}', '', 'gi') !~* '\\u(0000|d[89a-f])';

ALTER TABLE batch
    ADD COLUMN dropped integer NOT NULL DEFAULT 0;  -- rows whose recipient may not get this message now

-- What Meta told of a WABA or of one of its numbers: quality, limits, name, review, alerts, restrictions.
CREATE TABLE account_event (
    id uuid PRIMARY KEY,
    waba_id text NOT NULL CHECK (length(waba_id) <= 255),
    phone_number_id text,                       -- whom it is about: this number (Meta's id of it),
    display_phone_number text,                  -- or this one (its digits); both null: the whole WABA
    field text NOT NULL,
    event text,                                 -- the value's own word for what happened, if it has one
    value json NOT NULL,
    at timestamptz NOT NULL,                    -- entry.time; without one, when it came
    digest bytea NOT NULL,                      -- of field, entry.time and value: a repeated webhook is one event
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (waba_id, digest)
);
CREATE INDEX account_event_of ON account_event (waba_id, at, id);

-- version 3: outages of Meta's

-- Calls that failed in a row, of one number and of all numbers together. From ten on it is away: nothing but a probe
-- goes. A row is there while there is trouble alone: the next success deletes it.
CREATE TABLE graph_outage (
    scope text PRIMARY KEY,                     -- 'app': all numbers; 'number:…': a phone_number_id
    phone_number_id text NOT NULL,              -- whose failure was the first of the row
    several boolean NOT NULL DEFAULT false,     -- other numbers failed, too: else 'app' is not away
    failures integer NOT NULL,
    error json NOT NULL,                        -- of the latest
    since timestamptz NOT NULL,                 -- of the first
    failed_at timestamptz NOT NULL,             -- of the latest
    away_since timestamptz,
    probe_at timestamptz,                       -- when the next probe may go
    probes integer NOT NULL DEFAULT 0,
    CHECK ((away_since IS NULL) = (probe_at IS NULL))
);

-- version 4: what Meta tells beside a message's states

-- A status whose type is not a message's (a payment): kept and shown, it moves nothing.
CREATE TABLE message_fact (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    message_id uuid REFERENCES message ON DELETE SET NULL,  -- null: not known when it came; found by the wamid
    phone_number_id text NOT NULL,
    wamid text NOT NULL CHECK (length(wamid) <= 512),
    type text NOT NULL CHECK (length(type) <= 64),          -- Meta's: payment
    status text NOT NULL CHECK (length(status) <= 64),      -- of a payment: pending, captured, failed
    timestamp timestamptz,
    opaque text,                                            -- biz_opaque_callback_data: our message id
    payment json,
    errors json,
    digest bytea NOT NULL,                                  -- of all that Meta said: a repeated one is one fact
    received_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (phone_number_id, wamid, digest)
);
CREATE INDEX message_fact_of ON message_fact (message_id);

CREATE INDEX message_changed ON message (chatbot_id, updated_at);   -- GET /messages?updated_since=
CREATE INDEX message_by_reference ON message (client_reference) WHERE client_reference IS NOT NULL;

-- version 5: what is no phone is none

-- Meta puts a BSUID where a phone stood, and earlier versions took it for one; a number with a plus or blanks was another
-- person than the same without. This is service/content/person_id.py as it was then, for the rows that were spoiled by it.
CREATE FUNCTION person_id(given text, OUT kind text, OUT value text) IMMUTABLE LANGUAGE plpgsql AS $$
DECLARE
    seen text := regexp_replace(given, '[ \u00a0\u00ad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f'
        '\u2000-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0]', '', 'g');
    bsuid text := regexp_replace(seen, '^[+]', '');
    digits text := regexp_replace(seen, '[().\u2010-\u2015\u2212\ufe58\ufe63\uff0d-]', '', 'g');
BEGIN
    digits := regexp_replace(digits, '^[+]', '');
    IF bsuid ~ '^[A-Z]{2}[.](ENT[.])?[A-Za-z0-9.]{0,139}[A-Za-z0-9]$' THEN
        kind := CASE WHEN bsuid ~ '^..[.]ENT[.]' THEN 'parent' ELSE 'user' END;
        value := bsuid;
    ELSIF digits ~ '^[1-9][0-9]{4,14}$' THEN
        kind := 'phone';
        value := digits;
    END IF;
END $$;

-- Two conversations of one person become one, as service/conversations/merge.py did it then.
CREATE PROCEDURE merge_conversations(source uuid, target uuid) LANGUAGE plpgsql AS $$
BEGIN
    UPDATE conversation_identity SET conversation_id = target WHERE conversation_id = source;
    PERFORM 1 FROM message WHERE conversation_id = source ORDER BY id FOR NO KEY UPDATE;
    UPDATE message SET conversation_id = target WHERE conversation_id = source;
    UPDATE contact_event SET conversation_id = target WHERE conversation_id = source;
    UPDATE conversation t SET last_inbound_at = greatest(t.last_inbound_at, s.last_inbound_at),
        last_message_at = greatest(t.last_message_at, s.last_message_at),
        wa_id = coalesce(t.wa_id, s.wa_id), user_id = coalesce(t.user_id, s.user_id),
        parent_user_id = coalesce(t.parent_user_id, s.parent_user_id),
        username = CASE WHEN s.known_at > t.known_at THEN coalesce(s.username, t.username)
                   ELSE coalesce(t.username, s.username) END,
        name = CASE WHEN s.known_at > t.known_at THEN coalesce(s.name, t.name) ELSE coalesce(t.name, s.name) END,
        known_at = greatest(t.known_at, s.known_at),
        opted_out_by = CASE WHEN s.opted_out_at < t.opted_out_at OR t.opted_out_at IS NULL THEN s.opted_out_by
                       ELSE t.opted_out_by END,
        opted_out_at = least(t.opted_out_at, s.opted_out_at),
        reply_due_at = CASE WHEN s.reply_due_at IS NULL THEN t.reply_due_at
                       WHEN t.reply_claim IS NOT NULL THEN clock_timestamp()
                       ELSE least(t.reply_due_at, s.reply_due_at) END,
        paused_until = greatest(t.paused_until, s.paused_until), send_after = greatest(t.send_after, s.send_after),
        pair_free_at = greatest(t.pair_free_at, s.pair_free_at), created_at = least(t.created_at, s.created_at),
        updated_at = now()
    FROM conversation s WHERE t.id = target AND s.id = source;
    UPDATE conversation_merged SET conversation_id = target WHERE conversation_id = source;
    INSERT INTO conversation_merged (id, conversation_id) VALUES (source, target);
    DELETE FROM conversation WHERE id = source;
END $$;

-- What is shown of a conversation: of the ids that lead to it what it shows already, else the latest.
CREATE FUNCTION shown_id(c conversation, wanted text) RETURNS text STABLE LANGUAGE sql AS $$
    SELECT i.value FROM conversation_identity i
    WHERE i.conversation_id = c.id AND i.kind = wanted AND NOT EXISTS (
        SELECT 1 FROM conversation_identity r
        WHERE (r.chatbot_id, r.kind, r.value) = (i.chatbot_id, 'replaced', i.value))
    ORDER BY i.value IN ((person_id(c.wa_id)).value, (person_id(c.user_id)).value, (person_id(c.parent_user_id)).value)
        DESC NULLS LAST, i.seen_at DESC NULLS LAST, i.value LIMIT 1
$$;

DO $$
DECLARE
    user_form text := '^[A-Z]{2}[.][A-Za-z0-9.]*[A-Za-z0-9]$';
    parent_form text := '^[A-Z]{2}[.]ENT[.][A-Za-z0-9.]*[A-Za-z0-9]$';
    touched uuid[];     -- conversations with an id that is not what it stands for
    spoiled record;
    theirs uuid;
    owner uuid;
BEGIN
    touched := ARRAY(
        SELECT c.id FROM conversation c
        WHERE c.wa_id !~ '^[1-9][0-9]{4,14}$' OR c.user_id !~ user_form OR c.user_id ~ parent_form
            OR c.parent_user_id !~ parent_form
        UNION SELECT i.conversation_id FROM conversation_identity i
        WHERE i.kind IN ('phone', 'former') AND i.value !~ '^[1-9][0-9]{4,14}$'
            OR i.kind IN ('user', 'replaced') AND (i.value !~ user_form OR i.value ~ parent_form)
            OR i.kind = 'parent' AND i.value !~ parent_form);
    PERFORM 1 FROM conversation WHERE id = ANY (touched) ORDER BY id FOR UPDATE;

    -- What was sent to them or waits to be, and the history of phones that were none.
    PERFORM 1 FROM message WHERE conversation_id = ANY (touched) AND direction = 'outbound' ORDER BY id FOR NO KEY UPDATE;
    UPDATE message SET recipient = (person_id(recipient_to)).value, recipient_to = NULL
    WHERE conversation_id = ANY (touched) AND direction = 'outbound'
        AND (person_id(recipient_to)).kind IN ('user', 'parent');
    UPDATE message m SET answer_wa_id = (SELECT p.value FROM person_id(m.answer_wa_id) p WHERE p.kind = 'phone')
    WHERE conversation_id = ANY (touched) AND answer_wa_id !~ '^[1-9][0-9]{4,14}$';
    DELETE FROM contact_event
    WHERE conversation_id = ANY (touched) AND kind = 'identity' AND detail ->> 'what' = 'phone'
        AND (detail ->> 'from' !~ '^[1-9][0-9]{4,14}$' OR detail ->> 'to' !~ '^[1-9][0-9]{4,14}$');

    INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id)
    SELECT c.chatbot_id, p.kind, p.value, c.id
    FROM conversation c, unnest(ARRAY[c.wa_id, c.user_id, c.parent_user_id]) AS given, person_id(given) p
    WHERE c.id = ANY (touched) AND c.group_id IS NULL AND p.kind IS NOT NULL
        AND NOT EXISTS (SELECT 1 FROM conversation_identity i WHERE i.conversation_id = c.id)
    ON CONFLICT DO NOTHING;

    -- Each id under its own kind, BSUIDs first: they say for certain who is one person.
    FOR spoiled IN
        SELECT * FROM (
            SELECT i.*, p.value AS id, CASE
                WHEN i.kind = 'former' THEN CASE p.kind WHEN 'phone' THEN 'former' END
                WHEN i.kind = 'replaced' THEN CASE p.kind WHEN 'user' THEN 'replaced' END
                ELSE p.kind END AS id_kind
            FROM conversation_identity i, person_id(i.value) p
            WHERE i.conversation_id = ANY (touched) AND i.kind <> 'group') i
        WHERE (i.kind, i.value) IS DISTINCT FROM (i.id_kind, i.id)
        ORDER BY i.id_kind = 'user' DESC NULLS LAST, i.seen_at DESC NULLS LAST, i.chatbot_id, i.kind, i.value
    LOOP
        DELETE FROM conversation_identity i
        WHERE (i.chatbot_id, i.kind, i.value) = (spoiled.chatbot_id, spoiled.kind, spoiled.value)
        RETURNING i.conversation_id INTO theirs;
        CONTINUE WHEN spoiled.id_kind IS NULL;
        SELECT i.conversation_id INTO owner FROM conversation_identity i
        WHERE (i.chatbot_id, i.kind, i.value) = (spoiled.chatbot_id, spoiled.id_kind, spoiled.id);
        IF owner IS NULL THEN
            INSERT INTO conversation_identity (chatbot_id, kind, value, conversation_id, seen_at)
            VALUES (spoiled.chatbot_id, spoiled.id_kind, spoiled.id, theirs, spoiled.seen_at);
            CONTINUE;
        END IF;
        UPDATE conversation_identity i SET seen_at = greatest(i.seen_at, spoiled.seen_at)
        WHERE (i.chatbot_id, i.kind, i.value) = (spoiled.chatbot_id, spoiled.id_kind, spoiled.id) AND owner = theirs;
        -- A phone alone never makes one of two people who both have BSUIDs.
        IF owner <> theirs AND (spoiled.id_kind = 'user' OR spoiled.id_kind IN ('phone', 'parent') AND NOT EXISTS (
            SELECT 1 FROM conversation_identity a, conversation_identity b
            WHERE a.conversation_id = owner AND a.kind = 'user' AND b.conversation_id = theirs AND b.kind = 'user'))
        THEN
            IF EXISTS (SELECT 1 FROM conversation_identity WHERE conversation_id = theirs AND kind = 'user') THEN
                CALL merge_conversations(owner, theirs);
            ELSE
                CALL merge_conversations(theirs, owner);
                touched := touched || owner;
            END IF;
        END IF;
    END LOOP;

    -- What is shown of them: the latest that is theirs.
    UPDATE conversation c SET updated_at = now(),
        wa_id = CASE WHEN c.wa_id IS NOT NULL OR (person_id(c.user_id)).kind = 'phone' THEN shown_id(c, 'phone') END,
        user_id = shown_id(c, 'user'), parent_user_id = shown_id(c, 'parent')
    WHERE c.id = ANY (touched) AND c.group_id IS NULL;
END $$;

DROP PROCEDURE merge_conversations(uuid, uuid);
DROP FUNCTION shown_id(conversation, text);
DROP FUNCTION person_id(text);

-- version 6: how many channels a sound has

-- Of an uploaded Ogg with Opus: a voice message is mono. Null: not known, of all else.
ALTER TABLE media ADD COLUMN channels smallint;

-- version 7: which processes live

-- A process of the back room, renewed by its own loop every 10 s and taken away when it ends.
CREATE TABLE process (
    id uuid PRIMARY KEY,
    kind text NOT NULL,                         -- its name, as in `python -m workers NAME`
    host text NOT NULL,
    pid integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now()
);

-- version 8: a status of Meta's changes no index of its message

-- What indexes may know of a message: they hold nothing that changes with each status, so that PostgreSQL writes the new
-- row beside the old one and leaves all indexes as they are (HOT). Kept by a trigger, for the former version's processes too.
ALTER TABLE message
    ADD COLUMN waiting text,                            -- the status of a message that somebody has to act on, else null
    ADD COLUMN changed_minute timestamptz NOT NULL DEFAULT '-infinity';  -- updated_at to the minute; -infinity: from before
ALTER TABLE message ALTER COLUMN changed_minute SET DEFAULT date_bin('1 minute', now(), '2000-01-01 00:00+00');
CREATE FUNCTION keep_message_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.waiting := CASE WHEN NEW.status IN ('scheduled', 'queued', 'sending', 'unknown', 'held') THEN NEW.status END;
    NEW.changed_minute := date_bin('1 minute', NEW.updated_at, '2000-01-01 00:00+00');
    RETURN NEW;
END $$;
CREATE TRIGGER keep_message_marks BEFORE INSERT OR UPDATE ON message FOR EACH ROW
    WHEN (NEW.waiting IS DISTINCT FROM
            CASE WHEN NEW.status IN ('scheduled', 'queued', 'sending', 'unknown', 'held') THEN NEW.status END
        OR NEW.changed_minute <> date_bin('1 minute', NEW.updated_at, '2000-01-01 00:00+00'))
    EXECUTE FUNCTION keep_message_marks();
ALTER TABLE message ENABLE ALWAYS TRIGGER keep_message_marks;
-- Marks what waits already, a thousand rows in a transaction.
CREATE PROCEDURE mark_waiting_messages() LANGUAGE plpgsql AS $$
DECLARE
    unmarked uuid[] := ARRAY(
        SELECT id FROM message
        WHERE (status IN ('scheduled', 'queued', 'sending', 'unknown') OR status = 'held') AND waiting IS NULL
        ORDER BY id);
BEGIN
    FOR place IN 1 .. cardinality(unmarked) BY 1000 LOOP
        UPDATE message SET waiting = status WHERE id IN (
            SELECT id FROM message WHERE id = ANY (unmarked[place:place + 999]) ORDER BY id FOR NO KEY UPDATE);
        COMMIT;
    END LOOP;
END $$;

-- version 9: the indexes that hold no status

CALL mark_waiting_messages();
CREATE INDEX CONCURRENTLY message_to_send ON message (chatbot_id, priority, id) WHERE waiting = 'queued';
CREATE INDEX CONCURRENTLY message_on_hold ON message (chatbot_id) WHERE waiting = 'held';
CREATE INDEX CONCURRENTLY message_next ON message (due_at) WHERE waiting IN ('scheduled', 'queued', 'sending', 'unknown');
CREATE INDEX CONCURRENTLY message_ending ON message (expires_at)
    WHERE expires_at IS NOT NULL AND waiting IN ('scheduled', 'queued', 'held');
CREATE INDEX CONCURRENTLY message_of_batch_open ON message (batch_id)
    WHERE batch_id IS NOT NULL AND waiting IN ('scheduled', 'queued');
CREATE INDEX CONCURRENTLY message_of_template_open ON message (template_name, template_language)
    WHERE template_name IS NOT NULL AND waiting IN ('queued', 'held');
CREATE INDEX CONCURRENTLY message_stopped ON message (template_name, template_language)
    WHERE waiting = 'held' AND hold_reason = 'template';
CREATE INDEX CONCURRENTLY message_changed_in ON message (chatbot_id, changed_minute);    -- GET /messages?updated_since=

-- version 10: turns, people who take over, what was spent, search

ALTER TABLE whatsapp_cloud_account
    ADD COLUMN quiet_seconds real CHECK (quiet_seconds BETWEEN 0 AND 30),   -- null: REPLY_QUIET_SECONDS
    ADD COLUMN reply_ttl_seconds integer NOT NULL DEFAULT 300 CHECK (reply_ttl_seconds > 0), -- no reply later than that
    ADD COLUMN max_turns_a_day integer NOT NULL DEFAULT 200 CHECK (max_turns_a_day > 0),    -- replies to one conversation
    ADD COLUMN pause_minutes integer NOT NULL DEFAULT 720 CHECK (pause_minutes >= 0),   -- when a person writes; 0: no pause
    ADD COLUMN fallback_text text,              -- sent once when the responder is given up on
    ADD COLUMN responder_state text NOT NULL DEFAULT 'ok'
        CHECK (responder_state IN ('ok',
                                   'misconfigured')),   -- its server refuses key, address or model: nobody can answer
    ADD COLUMN responder_state_reason json,     -- the error of the ask that found it out
    ADD COLUMN responder_state_since timestamptz,
    ADD COLUMN former_responder_secret text,    -- Fernet token: signs beside the new one
    ADD COLUMN former_responder_secret_until timestamptz;

ALTER TABLE conversation
    ADD COLUMN paused_by text CHECK (paused_by IN (
        'api',                                  -- a person, by the API
        'business_app',                         -- a person wrote on the business's own phone
        'human_send',                           -- a send with from_human
        'loop_guard')),                         -- two machines answered each other
    ADD COLUMN assignee text CHECK (length(assignee) <= 255),
    ADD COLUMN reply_wanted_at timestamptz,     -- when the customer wrote what waits for a reply: reply_ttl_seconds counts from it
    ADD COLUMN turns_on date,                   -- the UTC day that `turns` counts
    ADD COLUMN turns smallint NOT NULL DEFAULT 0,       -- replies on that day
    ADD COLUMN answered_at timestamptz,         -- when the latest reply was queued
    ADD COLUMN quick_since timestamptz,         -- the first of the turns that followed each other within seconds
    ADD COLUMN quick_turns smallint NOT NULL DEFAULT 0,
    ADD COLUMN fell_back_at timestamptz,        -- when fallback_text was queued; null after the responder's next answer
    ADD COLUMN last_outbound_at timestamptz;    -- when something last went to the customer

ALTER TABLE message
    ADD COLUMN from_human boolean NOT NULL DEFAULT false,
    ADD COLUMN in_reply_to uuid,                -- the customer's message that a responder answers by POST /send
    ADD COLUMN ai_usage json;                   -- of a reply: {"model", "prompt_tokens", "completion_tokens"}, of its first message

-- The words of `text`, for GET /messages?q=. Apart from the message: every status of Meta's makes a
-- new version of that row, which would go into the index of words again. Each word is stored with
-- the time and the chatbot of its message before it (service/messages/search_index.py), so that a
-- search reads only what is of both; without positions.
CREATE TABLE message_search (
    message_id uuid PRIMARY KEY REFERENCES message ON DELETE CASCADE,
    search tsvector NOT NULL
);
-- What is new waits in a list, which whoever fills it up writes to its places: a short one, for each search reads all of it.
CREATE INDEX message_search_words ON message_search USING gin (search) WITH (gin_pending_list_limit = 512); -- kB

-- Messages of earlier versions, of which something is still to be derived (their words, and when
-- something last went to their conversation): those with ids from first_id up to, and without,
-- next_id. The clock takes some at each sweep, the newest first; a row goes when none is left.
CREATE TABLE message_backfill (
    id smallint PRIMARY KEY,
    next_id uuid NOT NULL,
    first_id uuid NOT NULL,
    due_at timestamptz NOT NULL
);
INSERT INTO message_backfill VALUES
    (1, 'ffffffff-ffff-ffff-ffff-ffffffffffff', '00000000-0000-0000-0000-000000000000', now()),
    -- and what processes of the former version, which may run a while longer, stored since then
    (2, 'ffffffff-ffff-ffff-ffff-ffffffffffff',
     rpad(lpad(to_hex((extract(epoch FROM now() - interval '1 hour') * 1000)::bigint), 12, '0'), 32, '0')::uuid,
     now() + interval '1 hour');

-- The filters of GET /conversations. Something was said, by the customer or to them, at the greatest of the two times.
CREATE INDEX conversation_paused ON conversation (chatbot_id, paused_until) WHERE paused_until IS NOT NULL;
CREATE INDEX conversation_assigned ON conversation (chatbot_id, assignee, id) WHERE assignee IS NOT NULL;
CREATE INDEX conversation_unanswered ON conversation (chatbot_id, id)
    WHERE last_inbound_at > coalesce(last_outbound_at, '-infinity');
CREATE INDEX conversation_active ON conversation (chatbot_id, greatest(last_message_at, last_outbound_at));

ALTER TABLE usage_log
    ADD COLUMN model text,                      -- the AI that made a reply, and what it took
    ADD COLUMN prompt_tokens integer,
    ADD COLUMN completion_tokens integer;

-- What the platform's own service was asked last about a conversation: every further try of the same question sends
-- the same bytes. Deleted after an hour; a crash of PostgreSQL may empty it.
CREATE UNLOGGED TABLE reply_request (
    conversation_id uuid PRIMARY KEY,           -- no foreign key: its check would lock the conversation
    in_reply_to uuid NOT NULL,                  -- the customer's message that the question is about
    wanted_at timestamptz,                      -- conversation.reply_wanted_at: after a pause it is another question
    body text NOT NULL,                         -- JSON in ASCII
    asked_at timestamptz NOT NULL               -- at the first try: webhook-timestamp
);

-- version 11: keys, endpoints, events

-- Keys that see less than those of API_KEYS.
CREATE TABLE api_key (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 255),
    digest bytea NOT NULL UNIQUE,               -- SHA-256 of the key, which is shown once and kept nowhere
    last4 text NOT NULL,
    chatbot_ids text[] NOT NULL CHECK (cardinality(chatbot_ids) > 0),
    scopes text[] NOT NULL CHECK (scopes <@ ARRAY['send', 'read', 'manage'] AND cardinality(scopes) > 0),
    expires_at timestamptz,
    last_used_at timestamptz,                   -- to the hour
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Where the platform is told.
CREATE TABLE endpoint (
    id uuid PRIMARY KEY,
    kind text NOT NULL
        CHECK (kind IN ('events',               -- ours, by Standard Webhooks
                        'relay',                -- what Meta posted
                        'poll')),               -- somebody reads GET /events, until listens_until
    url text,
    chatbot_id text REFERENCES whatsapp_cloud_account,  -- null: all
    types text[],                               -- of events; null: all
    secret text,                                -- this and the next: Fernet tokens
    former_secret text,                         -- signs beside the new one
    former_secret_until timestamptz,
    description text,
    state text NOT NULL DEFAULT 'active'
        CHECK (state IN ('active',
                         'paused')),            -- by a person, by its 410, or after three days of failures
    state_reason json,
    state_since timestamptz,
    failing_since timestamptz,                  -- the first failure since its last success
    listens_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CHECK ((kind = 'poll') = (url IS NULL)),
    CHECK ((kind = 'poll') = (secret IS NULL)),
    CHECK ((kind = 'poll') = (listens_until IS NOT NULL))
);
CREATE UNIQUE INDEX endpoint_poll ON endpoint (coalesce(chatbot_id, '')) WHERE kind = 'poll';
CREATE INDEX endpoint_of ON endpoint (chatbot_id);
CREATE INDEX endpoint_relay ON endpoint (chatbot_id) WHERE kind = 'relay';

-- Ids of events are made here, by the one clock that all share, when the row they tell of is locked: their order is
-- that of the facts of a conversation. UUIDv7 with a fraction of the millisecond.
CREATE FUNCTION new_event_id() RETURNS uuid LANGUAGE sql VOLATILE AS $$
    SELECT (lpad(to_hex(us / 1000), 12, '0') || '7' || lpad(to_hex(us % 1000 * 4096 / 1000), 3, '0')
        || substr(replace(gen_random_uuid()::text, '-', ''), 17))::uuid
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS clock
$$;

-- What is before all ids of a moment's millisecond.
CREATE FUNCTION least_event_id(at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE AS $$
    SELECT rpad(lpad(to_hex((extract(epoch FROM at) * 1000)::bigint - 1), 12, '0'), 32, '0')::uuid
$$;

-- A fact that somebody wants to hear of, written in its own transaction, by the triggers below.
-- No foreign keys here and in event_delivery: their checks would lock rows that everybody writes.
CREATE TABLE event (
    id uuid PRIMARY KEY DEFAULT new_event_id(),
    type text NOT NULL,                         -- as in docs/events.md; 'relay': of a webhook of Meta's
    chatbot_id text NOT NULL,                   -- of a relay for all: ''
    conversation_id uuid,
    message_id uuid,
    data json NOT NULL DEFAULT '{}'             -- what else it says: states before and after, and ids of other rows
);
CREATE INDEX event_by_chatbot ON event (chatbot_id, id);
-- A webhook is relayed to a chatbot once, however often it is processed.
CREATE UNIQUE INDEX event_of_webhook ON event ((data ->> 'webhook_event_id'), chatbot_id) WHERE type = 'relay';

CREATE TABLE event_delivery (
    endpoint_id uuid NOT NULL,
    event_id uuid NOT NULL,
    conversation_id uuid,                       -- its events are delivered in order; null: in any
    status text NOT NULL DEFAULT 'waiting'
        CHECK (status IN ('waiting',            -- for due_at; with a claim it is under way, and due_at is its lease
                          'delivered',
                          'failed')),           -- given up; may be sent again
    due_at timestamptz DEFAULT now(),
    claim uuid,
    attempts smallint NOT NULL DEFAULT 0,
    response_status smallint,                   -- of the latest attempt; null: no answer
    milliseconds integer,
    error text,                                 -- why the latest attempt failed
    body text,                                  -- once an attempt has failed: each further one sends the same bytes
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (endpoint_id, event_id),
    CHECK ((status = 'waiting') = (due_at IS NOT NULL))
);
CREATE INDEX event_delivery_due ON event_delivery (endpoint_id, due_at) WHERE status = 'waiting';
CREATE INDEX event_delivery_lane ON event_delivery (endpoint_id, conversation_id, event_id) WHERE status = 'waiting';
CREATE INDEX event_delivery_of ON event_delivery (event_id);
CREATE INDEX event_delivery_failed ON event_delivery (endpoint_id, event_id) WHERE status = 'failed';

CREATE FUNCTION wants_event(e endpoint, event_type text, of_chatbot text) RETURNS boolean IMMUTABLE LANGUAGE sql AS $$
    -- the first line alone can be looked up: those of other chatbots cost nothing
    SELECT (e.chatbot_id IS NULL OR e.chatbot_id = of_chatbot) AND CASE WHEN e.kind = 'relay' OR event_type = 'relay'
        -- '': what concerns any of them, in one body for who relays for all
        THEN e.kind = event_type AND coalesce(e.chatbot_id, '') = of_chatbot
        ELSE e.types IS NULL OR event_type = ANY (e.types) END
$$;
-- Writes an event, unless nobody wants it.
CREATE FUNCTION publish(event_type text, of_chatbot text, conversation uuid, message uuid, data json)
RETURNS void LANGUAGE sql AS $$
    INSERT INTO event (type, chatbot_id, conversation_id, message_id, data)
    SELECT event_type, of_chatbot, conversation, message, data
    WHERE EXISTS (SELECT FROM endpoint e WHERE wants_event(e, event_type, of_chatbot)
        AND (e.kind <> 'poll' OR e.listens_until > now()))
$$;

-- Whoever gets it: a delivery each. INFO comes to the client with the statement's answer: this process rings the bell
-- when it has committed (service/runtime/db.py).
CREATE FUNCTION queue_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO event_delivery (endpoint_id, event_id, conversation_id)
    SELECT e.id, t.id, t.conversation_id FROM told t JOIN endpoint e ON wants_event(e, t.type, t.chatbot_id)
    WHERE e.kind <> 'poll';
    IF FOUND THEN
        RAISE INFO 'event deliveries are due';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER queue_deliveries AFTER INSERT ON event REFERENCING NEW TABLE AS told
    FOR EACH STATEMENT EXECUTE FUNCTION queue_deliveries();

-- Of two conversations that are merged what waits is one lane from then on.
CREATE FUNCTION merge_lanes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE event_delivery SET conversation_id = NEW.conversation_id
    WHERE (endpoint_id, event_id) IN (
        SELECT d.endpoint_id, d.event_id FROM endpoint e CROSS JOIN LATERAL (
            SELECT * FROM event_delivery d WHERE d.endpoint_id = e.id AND d.conversation_id = NEW.id
                AND d.status = 'waiting'
            ORDER BY d.event_id FOR NO KEY UPDATE) d);
    RETURN NULL;
END $$;
CREATE TRIGGER merge_lanes AFTER INSERT ON conversation_merged FOR EACH ROW EXECUTE FUNCTION merge_lanes();

-- Messages: one statement for all that a statement moves.
CREATE FUNCTION tell_new_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM endpoint WHERE kind <> 'relay') THEN
        INSERT INTO event (type, chatbot_id, conversation_id, message_id, data)
        SELECT t.type, t.chatbot_id, t.conversation_id, t.id, t.data FROM (
            SELECT n.id, n.chatbot_id, n.conversation_id, CASE
                    WHEN n.refers_to IS NOT NULL AND (n.direction = 'inbound' OR n.echo) THEN 'message.changed'
                    WHEN n.direction = 'inbound' THEN 'message.received'
                    ELSE 'message.status' END AS type,
                CASE WHEN n.direction = 'outbound' THEN json_build_object('status', n.status, 'previous_status', NULL)
                    ELSE '{}' END AS data
            FROM new_rows n
            WHERE n.status IN ('received', 'accepted', 'sent', 'delivered', 'read', 'played', 'failed', 'held',
                'unknown', 'expired', 'cancelled')) t
        WHERE EXISTS (SELECT FROM endpoint e WHERE wants_event(e, t.type, t.chatbot_id)
            AND (e.kind <> 'poll' OR e.listens_until > now()))
        ORDER BY t.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_new_messages AFTER INSERT ON message REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_new_messages();
CREATE FUNCTION tell_moved_messages() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM endpoint WHERE kind <> 'relay') THEN
        INSERT INTO event (type, chatbot_id, conversation_id, message_id, data)
        SELECT 'message.status', n.chatbot_id, n.conversation_id, n.id,
            json_build_object('status', n.status, 'previous_status', o.status)
        FROM new_rows n JOIN old_rows o USING (id)
        WHERE n.status <> o.status AND n.status IN ('accepted', 'sent', 'delivered', 'read', 'played', 'failed', 'held',
                'unknown', 'expired', 'cancelled')
            AND EXISTS (SELECT FROM endpoint e WHERE wants_event(e, 'message.status', n.chatbot_id)
                AND (e.kind <> 'poll' OR e.listens_until > now()))
        ORDER BY n.id;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_moved_messages AFTER UPDATE ON message REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION tell_moved_messages();

-- All else happens seldom: a row at a time, and only where something that is told of has changed.
CREATE FUNCTION tell_conversation_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.paused_until > now() AND (coalesce(OLD.paused_until <= now(), true)
        OR (NEW.paused_by, NEW.assignee) IS DISTINCT FROM (OLD.paused_by, OLD.assignee))
    THEN
        PERFORM publish('conversation.paused', NEW.chatbot_id, NEW.id, NULL, '{}');
    ELSIF NEW.paused_until IS NULL AND OLD.paused_until > now() THEN
        PERFORM publish('conversation.resumed', NEW.chatbot_id, NEW.id, NULL, '{}');
    END IF;
    IF NEW.reply_error ->> 'final' = 'true' THEN
        IF NEW.reply_error ->> 'title' = 'max_turns_a_day replies were sent today (UTC)' THEN
            -- once a day: a reply of the next day ends it
            IF NEW.reply_error ->> 'title' IS DISTINCT FROM OLD.reply_error ->> 'title' THEN
                PERFORM publish('reply.limited', NEW.chatbot_id, NEW.id, NULL, json_build_object('error', NEW.reply_error));
            END IF;
        -- each time, also for the same reason as before: the ask is over, nobody has taken over, and none follows
        ELSIF NEW.reply_error::text IS DISTINCT FROM OLD.reply_error::text OR OLD.reply_claim IS NOT NULL
            AND NEW.reply_claim IS NULL AND NEW.reply_due_at IS NULL AND coalesce(NEW.paused_until <= now(), true)
        THEN
            PERFORM publish('reply.failed', NEW.chatbot_id, NEW.id, NULL, json_build_object('error', NEW.reply_error));
        END IF;
    END IF;
    IF OLD.opted_out_at IS NULL AND NEW.opted_out_at IS NOT NULL THEN
        PERFORM publish('contact.opted_out', NEW.chatbot_id, NEW.id, NULL, '{}');
    ELSIF OLD.opted_out_at IS NOT NULL AND NEW.opted_out_at IS NULL THEN
        PERFORM publish('contact.opted_in', NEW.chatbot_id, NEW.id, NULL, '{}');
    END IF;
    -- Once for all that a transaction learns of a person, and not for what it learns when it hears of them first.
    IF OLD.known_at IS NOT NULL AND OLD.created_at < now() AND (NEW.wa_id, NEW.user_id, NEW.parent_user_id, NEW.username,
            NEW.name) IS DISTINCT FROM (OLD.wa_id, OLD.user_id, OLD.parent_user_id, OLD.username, OLD.name)
        AND NOT EXISTS (
            SELECT FROM event v WHERE v.chatbot_id = NEW.chatbot_id AND v.id > least_event_id(now())
                AND v.type = 'contact.changed' AND v.conversation_id = NEW.id AND v.xmin = pg_current_xact_id()::xid)
    THEN
        PERFORM publish('contact.changed', NEW.chatbot_id, NEW.id, NULL, '{}');
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_conversation_change AFTER UPDATE ON conversation FOR EACH ROW
    WHEN (NEW.paused_until IS DISTINCT FROM OLD.paused_until OR NEW.paused_by IS DISTINCT FROM OLD.paused_by
        OR NEW.assignee IS DISTINCT FROM OLD.assignee OR NEW.reply_error IS NOT NULL
        OR NEW.opted_out_at IS DISTINCT FROM OLD.opted_out_at OR OLD.known_at IS NOT NULL
            AND (NEW.wa_id, NEW.user_id, NEW.parent_user_id, NEW.username, NEW.name)
                IS DISTINCT FROM (OLD.wa_id, OLD.user_id, OLD.parent_user_id, OLD.username, OLD.name))
    EXECUTE FUNCTION tell_conversation_change();

CREATE FUNCTION tell_stored_media() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM publish('media.' || NEW.status, m.chatbot_id, m.conversation_id, m.id, json_build_object('media_id', NEW.id))
    FROM message m WHERE m.id = NEW.message_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_stored_media AFTER UPDATE ON media FOR EACH ROW
    WHEN (NEW.message_id IS NOT NULL AND OLD.status <> NEW.status AND NEW.status IN ('stored', 'failed'))
    EXECUTE FUNCTION tell_stored_media();
CREATE TRIGGER tell_missing_media AFTER INSERT ON media FOR EACH ROW
    WHEN (NEW.message_id IS NOT NULL AND NEW.status = 'failed')     -- Meta gave an error in the place of the file
    EXECUTE FUNCTION tell_stored_media();

CREATE FUNCTION tell_account_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM publish(CASE NEW.send_state WHEN 'held' THEN 'account.held' ELSE 'account.released' END,
        NEW.chatbot_id, NULL, NULL, '{}');
    RETURN NULL;
END $$;
CREATE TRIGGER tell_account_state AFTER UPDATE ON whatsapp_cloud_account FOR EACH ROW
    WHEN (NEW.send_state <> OLD.send_state) EXECUTE FUNCTION tell_account_state();
-- What Meta tells of a WABA concerns each of its accounts, what it tells of a number that number's alone.
CREATE FUNCTION tell_account_health() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM publish('account.health', a.chatbot_id, NULL, NULL, json_build_object('account_event_id', NEW.id))
    FROM whatsapp_cloud_account a
    WHERE a.waba_id = NEW.waba_id AND (NEW.phone_number_id IS NULL OR NEW.phone_number_id = a.phone_number_id)
        AND (NEW.display_phone_number IS NULL OR a.display_phone_number IS NULL
            OR NEW.display_phone_number = regexp_replace(a.display_phone_number, '[^0-9]', '', 'g'));
    RETURN NULL;
END $$;
CREATE TRIGGER tell_account_health AFTER INSERT ON account_event FOR EACH ROW EXECUTE FUNCTION tell_account_health();

CREATE FUNCTION tell_template_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM publish('template.changed', a.chatbot_id, NULL, NULL,
        json_build_object('waba_id', NEW.waba_id, 'name', NEW.name, 'language', NEW.language))
    FROM whatsapp_cloud_account a WHERE a.waba_id = NEW.waba_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_template_change AFTER UPDATE ON template FOR EACH ROW
    WHEN (CASE WHEN NEW.synced_at IS DISTINCT FROM OLD.synced_at   -- a reading: what was not known before is no change
        THEN NEW.status <> OLD.status OR NEW.category <> OLD.category OR NEW.quality <> OLD.quality
        ELSE (NEW.status, NEW.category, NEW.quality) IS DISTINCT FROM (OLD.status, OLD.category, OLD.quality) END)
    EXECUTE FUNCTION tell_template_change();
CREATE TRIGGER tell_new_template AFTER INSERT ON template FOR EACH ROW
    WHEN (NEW.synced_at IS NULL) EXECUTE FUNCTION tell_template_change();   -- by a webhook, not by the first reading

ALTER TABLE batch
    ADD COLUMN done_at timestamptz;             -- when nothing of it waited any more, as the clock found
-- Nobody wants to hear of those that ended before. Of others it is told when they are done.
UPDATE batch b SET done_at = updated_at WHERE status <> 'paused' AND CASE
    WHEN (SELECT true FROM message m WHERE m.batch_id = b.id AND m.waiting IN ('scheduled', 'queued') LIMIT 1)
    THEN false
    ELSE (SELECT true FROM message m WHERE m.chatbot_id = b.chatbot_id AND m.waiting = 'held' AND m.batch_id = b.id
        LIMIT 1) IS NULL END;
CREATE FUNCTION tell_batch_state() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.done_at IS NOT NULL AND OLD.done_at IS NULL THEN
        PERFORM publish('batch.done', NEW.chatbot_id, NULL, NULL, json_build_object('batch_id', NEW.id));
    END IF;
    IF NEW.status = 'paused' AND OLD.status <> 'paused' THEN
        PERFORM publish('batch.paused', NEW.chatbot_id, NULL, NULL, json_build_object('batch_id', NEW.id));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tell_batch_state AFTER UPDATE ON batch FOR EACH ROW
    WHEN (NEW.done_at IS DISTINCT FROM OLD.done_at OR NEW.status <> OLD.status) EXECUTE FUNCTION tell_batch_state();
CREATE INDEX batch_open ON batch (id) WHERE done_at IS NULL AND status = 'running';

ALTER TABLE message
    ADD COLUMN biz_opaque_callback_data text,   -- the caller's own
    -- not valid: the rows that are there need not be read for it
    ADD CONSTRAINT message_opaque CHECK (length(biz_opaque_callback_data) <= 512) NOT VALID,
    -- What Meta answered, {"status", "body"}, where a caller waits for it (the Graph door); JSON's null until then
    ADD COLUMN meta_answer json;

CREATE INDEX whatsapp_cloud_account_waba ON whatsapp_cloud_account (waba_id);
-- Whose the ids of Meta's are that callers got when they uploaded files through the Graph door.
CREATE TABLE graph_media (
    meta_id text PRIMARY KEY,
    chatbot_id text NOT NULL REFERENCES whatsapp_cloud_account,
    created_at timestamptz NOT NULL DEFAULT now()   -- Meta keeps it for 30 days
);
CREATE INDEX graph_media_age ON graph_media (created_at);

-- version 12: whose a file is by Meta's id

CREATE INDEX CONCURRENTLY media_at_meta ON media (meta_id) WHERE meta_id IS NOT NULL;
CREATE INDEX CONCURRENTLY media_upload_at_meta ON media_upload (meta_id) WHERE meta_id IS NOT NULL;

-- version 13: operating: what it costs, what happened by the hour, how long it is kept

-- What it costs.

ALTER TABLE whatsapp_cloud_account
    ADD COLUMN monthly_budget float8 CHECK (monthly_budget > 0);    -- in the rate card's currency; null: none
ALTER TABLE usage_log
    ADD COLUMN country text,                    -- of the customer's calling code, ISO 3166; null: no phone is known
    ADD COLUMN delivered boolean NOT NULL DEFAULT false;    -- only then Meta bills it

-- What messages add to the sums of their day, in the transaction that changes them. Without a key: nobody waits for
-- anybody. '' stands for what is not known.
CREATE TABLE usage_delta (
    chatbot_id text NOT NULL,
    day date NOT NULL,                          -- UTC, of usage_log.at
    direction text NOT NULL,
    category text NOT NULL,
    country text NOT NULL,
    pricing_type text NOT NULL,                 -- Meta's: regular, free_customer_service, free_entry_point
    model text NOT NULL,
    count integer NOT NULL,
    delivered integer NOT NULL,
    prompt_tokens bigint,
    completion_tokens bigint
);
-- The sums of a day, without what is still in usage_delta: the clock moves it (service/billing/roll_up.py).
CREATE TABLE usage_day (
    chatbot_id text NOT NULL,
    day date NOT NULL,
    direction text NOT NULL,
    category text NOT NULL,
    country text NOT NULL,
    pricing_type text NOT NULL,
    count bigint NOT NULL,
    delivered bigint NOT NULL,
    PRIMARY KEY (chatbot_id, day, direction, category, country, pricing_type)
);
CREATE TABLE usage_tokens_day (
    chatbot_id text NOT NULL,
    day date NOT NULL,
    model text NOT NULL,
    prompt_tokens bigint,
    completion_tokens bigint,
    PRIMARY KEY (chatbot_id, day, model)
);
-- Messages from before this section, which no trigger has counted: those of a chatbot with
-- counted_until <= usage_log.at < since. The clock counts them portion by portion; then the row goes. To them belongs what
-- processes of the former version, which may run a while longer, store and deliver: they tell neither country nor delivery.
CREATE TABLE usage_backlog (
    chatbot_id text PRIMARY KEY,
    counted_until timestamptz NOT NULL,
    since timestamptz NOT NULL
);
INSERT INTO usage_backlog (chatbot_id, counted_until, since)
SELECT chatbot_id, '-infinity', clock_timestamp() + interval '1 hour' FROM whatsapp_cloud_account;

-- PostgreSQL reads no text out of json with \u0000 or half a surrogate pair in it: here these are other characters.
CREATE FUNCTION text_in(value json, name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN value::text ~* '\\u(0000|d[89a-f])'
        THEN regexp_replace(value::text, '\\u(0000|d[89a-f][0-9a-f]{2})', '\\ufffd', 'gi')::json ->> name
        ELSE value ->> name END
$$;
CREATE FUNCTION pricing_type(pricing json) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT left(coalesce(text_in(pricing, 'type'),
        CASE text_in(pricing, 'billable') WHEN 'true' THEN 'regular' ELSE '' END, ''), 64)
$$;
CREATE VIEW usage_uncounted AS
SELECT u.chatbot_id, (u.at AT TIME ZONE 'UTC')::date AS day, u.direction, coalesce(u.category, '') AS category,
    pricing_type(u.pricing) AS pricing_type, coalesce(u.model, '') AS model, u.prompt_tokens, u.completion_tokens,
    u.delivered OR coalesce(m.direction = 'outbound' AND m.status IN ('delivered', 'read', 'played'), false) AS arrived
FROM usage_backlog b CROSS JOIN LATERAL (     -- OFFSET: without a backlog nothing of usage_log is looked at
    SELECT * FROM usage_log l WHERE l.chatbot_id = b.chatbot_id AND l.at >= b.counted_until AND l.at < b.since OFFSET 0) u
    LEFT JOIN message m ON m.id = u.message_id;
CREATE FUNCTION count_new_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage_delta
    SELECT chatbot_id, (at AT TIME ZONE 'UTC')::date, direction, coalesce(category, ''), coalesce(country, ''),
        pricing_type(pricing), coalesce(model, ''), count(*), count(*) FILTER (WHERE delivered),
        sum(prompt_tokens), sum(completion_tokens)
    FROM added a
    WHERE NOT EXISTS (SELECT FROM usage_backlog b
        WHERE b.chatbot_id = a.chatbot_id AND a.at >= b.counted_until AND a.at < b.since)
    GROUP BY 1, 2, 3, 4, 5, 6, 7;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new_usage AFTER INSERT ON usage_log REFERENCING NEW TABLE AS added
    FOR EACH STATEMENT EXECUTE FUNCTION count_new_usage();

-- What was counted is taken back, and counted as it is now.
CREATE FUNCTION count_changed_usage() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM after) THEN
        RETURN NULL;    -- most prices are told again
    END IF;
    INSERT INTO usage_delta
    SELECT c.chatbot_id, (c.at AT TIME ZONE 'UTC')::date, c.direction, c.category, c.country, c.pricing_type, '',
        sum(c.sign), coalesce(sum(c.sign) FILTER (WHERE c.delivered), 0)
    FROM (
        SELECT chatbot_id, at, direction, coalesce(category, '') AS category, coalesce(country, '') AS country,
            pricing_type(pricing) AS pricing_type, delivered, -1 AS sign FROM before
        UNION ALL
        SELECT chatbot_id, at, direction, coalesce(category, ''), coalesce(country, ''),
            pricing_type(pricing), delivered, 1 FROM after) c
    WHERE NOT EXISTS (SELECT FROM usage_backlog b
        WHERE b.chatbot_id = c.chatbot_id AND c.at >= b.counted_until AND c.at < b.since)
    GROUP BY 1, 2, 3, 4, 5, 6
    HAVING sum(c.sign) <> 0 OR coalesce(sum(c.sign) FILTER (WHERE c.delivered), 0) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER count_changed_usage AFTER UPDATE ON usage_log REFERENCING OLD TABLE AS before NEW TABLE AS after
    FOR EACH STATEMENT EXECUTE FUNCTION count_changed_usage();

-- A newer rate card than service/billing/rates.csv (`flask rates load`); empty: that one.
CREATE TABLE rate (
    market text NOT NULL,                       -- a country (ISO 3166), or one of Meta's regions
    category text NOT NULL,
    tier_from bigint NOT NULL,                  -- of the messages of a month, counted from 1
    tier_to bigint,                             -- null: all further ones
    valid_from date NOT NULL,
    valid_to date,                              -- the last day; null: until further notice
    currency text NOT NULL,
    price numeric(14, 8) NOT NULL,
    source text NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (market, category, valid_from, tier_from)
);

-- That a month's cost has reached so much of its account's budget was told.
CREATE TABLE budget_notice (
    chatbot_id text NOT NULL,
    month date NOT NULL,
    percent smallint NOT NULL,
    told_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (chatbot_id, month, percent)
);

-- What happened, by the hour.

ALTER TABLE message
    ADD COLUMN reply_wanted_at timestamptz;     -- of the first message of a reply: when the customer wrote what it answers

-- What messages count for, in the hour or the UTC day at which they were stored; chatbot_id '': all together. The times are
-- how many messages took how long, by delay_bucket().
CREATE TABLE hourly (
    chatbot_id text NOT NULL,
    at timestamptz NOT NULL,
    received integer NOT NULL,                  -- from customers
    outbound integer NOT NULL,                  -- to customers; of them:
    accepted integer NOT NULL,
    sent integer NOT NULL,                      -- or further, like the next one
    delivered integer NOT NULL,
    read integer NOT NULL,
    failed integer NOT NULL,
    send_times integer[] NOT NULL,              -- from its creation, or its send_at, until Meta accepted a message
    reply_times integer[] NOT NULL,             -- from the customer's message until Meta accepted the first of its reply
    PRIMARY KEY (chatbot_id, at)
);
CREATE TABLE hourly_failure (
    chatbot_id text NOT NULL,
    at timestamptz NOT NULL,
    code text NOT NULL,                         -- Meta's, or a word of ours
    count integer NOT NULL,
    PRIMARY KEY (chatbot_id, at, code)
);
CREATE TABLE daily (LIKE hourly INCLUDING ALL);
CREATE TABLE daily_failure (LIKE hourly_failure INCLUDING ALL);

-- What is to be added to these, as each transaction leaves it behind: no two wait for each other. The clock takes it away.
CREATE TABLE hourly_delta (
    chatbot_id text NOT NULL,
    at timestamptz NOT NULL,                    -- the hour
    received integer NOT NULL,
    outbound integer NOT NULL,
    accepted integer NOT NULL,
    sent integer NOT NULL,
    delivered integer NOT NULL,
    read integer NOT NULL,
    failed integer NOT NULL,
    code text,                                  -- of what failed
    send_bucket smallint,                       -- of what was accepted, like the next one
    reply_bucket smallint
) WITH (autovacuum_vacuum_threshold = 10000, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_insert_threshold = -1);

-- Messages with ids from first_id on count by their changes. Earlier ones were there before: they are counted as they stand
-- until the clock has added them, the latest first.
CREATE TABLE hourly_backfill (first_id uuid NOT NULL);
-- While this waited for its locks others went on, and some clocks are ahead: whatever is there is earlier.
INSERT INTO hourly_backfill
SELECT coalesce((
    SELECT greatest(least_event_id(clock_timestamp()), rpad(lpad(to_hex(
        ('x' || left(replace(id::text, '-', ''), 12))::bit(48)::bigint + 1), 12, '0'), 32, '0')::uuid)
    FROM message ORDER BY id DESC LIMIT 1), '00000000-0000-0000-0000-000000000000');

-- 1: less than 1/32 s; from there on two for each doubling; 46: 131,072 s or more.
CREATE FUNCTION delay_bucket(delay interval) RETURNS smallint IMMUTABLE LANGUAGE sql AS $$
    SELECT least(greatest(floor(2 / ln(2) * ln(32 * greatest(extract(epoch FROM delay)::float8, 0.01))) + 2, 1), 46)::smallint
$$;
-- What a message counts for by its row alone.
CREATE FUNCTION message_counts(direction text, status text, error json, echo boolean, created_at timestamptz,
    send_at timestamptz, accepted_at timestamptz, reply_wanted_at timestamptz)
RETURNS TABLE (at timestamptz, received integer, outbound integer, accepted integer, sent integer, delivered integer,
    read integer, failed integer, code text, send_bucket smallint, reply_bucket smallint) IMMUTABLE LANGUAGE sql AS $$
    SELECT date_bin('1 hour', created_at, '2000-01-01 00:00+00'),
        (direction = 'inbound')::integer, (direction = 'outbound')::integer, (accepted_at IS NOT NULL)::integer,
        (status IN ('sent', 'delivered', 'read', 'played'))::integer,
        (status IN ('delivered', 'read', 'played'))::integer, (status IN ('read', 'played'))::integer,
        (status = 'failed')::integer,
        CASE WHEN status = 'failed' THEN coalesce(text_in(error, 'cause'), text_in(error, 'code'), '') END,
        CASE WHEN NOT echo AND accepted_at IS NOT NULL THEN delay_bucket(accepted_at - greatest(created_at, send_at)) END,
        CASE WHEN accepted_at IS NOT NULL AND reply_wanted_at IS NOT NULL THEN delay_bucket(accepted_at - reply_wanted_at) END
$$;
-- Of two rows of counts, or of one that is empty.
CREATE FUNCTION add_counts(integer[], integer[]) RETURNS integer[] IMMUTABLE LANGUAGE sql AS $$
    SELECT coalesce(array_agg(coalesce(a, 0) + coalesce(b, 0) ORDER BY place), '{}')
    FROM unnest($1, $2) WITH ORDINALITY AS t (a, b, place)
$$;

CREATE FUNCTION count_messages() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first uuid := (SELECT first_id FROM hourly_backfill);
    is_old boolean;
BEGIN
    IF first > '00000000-0000-0000-0000-000000000000' THEN
        IF TG_OP = 'DELETE' THEN
            is_old := EXISTS (SELECT FROM old_rows WHERE id < first);
        ELSE
            is_old := EXISTS (SELECT FROM new_rows WHERE id < first);
        END IF;
        IF is_old THEN
            -- nobody adds what was there before while its rows are changed
            PERFORM pg_advisory_xact_lock_shared(hashtextextended('hourly_backfill', 0));
            first := (SELECT first_id FROM hourly_backfill);
        END IF;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO hourly_delta
        SELECT n.chatbot_id, c.at, sum(c.received), sum(c.outbound), sum(c.accepted), sum(c.sent), sum(c.delivered),
            sum(c.read), sum(c.failed), c.code, c.send_bucket, c.reply_bucket
        FROM new_rows n, message_counts(n.direction, n.status, n.error, n.echo, n.created_at, n.send_at, n.accepted_at,
            n.reply_wanted_at) c
        WHERE n.id >= first GROUP BY n.chatbot_id, c.at, c.code, c.send_bucket, c.reply_bucket;
    ELSIF TG_OP = 'UPDATE' THEN
        INSERT INTO hourly_delta
        SELECT n.chatbot_id, c.at, 0, 0, sum(c.accepted - b.accepted), sum(c.sent - b.sent), sum(c.delivered - b.delivered),
            sum(c.read - b.read), sum(c.failed - b.failed), coalesce(c.code, b.code) AS code,
            CASE WHEN b.accepted = 0 THEN c.send_bucket END AS send, CASE WHEN b.accepted = 0 THEN c.reply_bucket END AS reply
        FROM new_rows n JOIN old_rows o USING (id), message_counts(n.direction, n.status, n.error, n.echo, n.created_at,
            n.send_at, n.accepted_at, n.reply_wanted_at) c, message_counts(o.direction, o.status, o.error, o.echo,
            o.created_at, o.send_at, o.accepted_at, o.reply_wanted_at) b
        WHERE n.id >= first
            AND (c.accepted, c.sent, c.delivered, c.read, c.failed) <> (b.accepted, b.sent, b.delivered, b.read, b.failed)
        GROUP BY n.chatbot_id, c.at, coalesce(c.code, b.code), send, reply;
    ELSE
        -- An echo of a message that we sent ourselves counts no more. All else stays counted, and is now if it was not yet.
        INSERT INTO hourly_delta
        SELECT o.chatbot_id, c.at, s.sign * c.received, s.sign * c.outbound, s.sign * c.accepted, s.sign * c.sent,
            s.sign * c.delivered, s.sign * c.read, s.sign * c.failed, c.code, c.send_bucket, c.reply_bucket
        FROM old_rows o, message_counts(o.direction, o.status, o.error, o.echo, o.created_at, o.send_at, o.accepted_at,
            o.reply_wanted_at) c,
            LATERAL (SELECT CASE WHEN o.id >= first THEN -1 ELSE 1 END AS sign) s
        WHERE (o.id >= first) = (o.echo AND EXISTS (
            SELECT FROM message m WHERE m.phone_number_id = o.phone_number_id AND m.wamid = o.wamid
                AND m.direction = 'outbound' AND m.wamid IS NOT NULL AND NOT m.echo));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER count_new_messages AFTER INSERT ON message REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER count_moved_messages AFTER UPDATE ON message REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();
CREATE TRIGGER count_deleted_messages AFTER DELETE ON message REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION count_messages();

-- How long it is kept.

ALTER TABLE whatsapp_cloud_account
    ADD COLUMN retention json;                  -- {"events_days", "text_days", "media_days"}, each null: kept
ALTER TABLE webhook_event
    ADD COLUMN redacted_at timestamptz;         -- what was erased or too old is no longer in `body`: '', or the rest made anew
ALTER TABLE media
    DROP CONSTRAINT media_status_check,
    ADD CONSTRAINT media_status_check           -- not valid: the rows that are there need not be read for it
        CHECK (status IN ('fetching', 'stored', 'failed',
                          'gone')) NOT VALID;   -- deleted from the storage: older than the account's media_days
-- What may be billed stays when a person is erased: country and price, without the message.
ALTER TABLE usage_log DROP CONSTRAINT usage_log_message_id_fkey;

-- Ids that were somebody's who was erased, as SHA-256: of a conversation, of a message, Meta's of a message. What Meta
-- tells of them later is not kept.
CREATE TABLE erased (
    digest bytea PRIMARY KEY,
    chatbot_id text NOT NULL,
    erased_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX erased_age ON erased (erased_at);

-- Files that have no row any more, until the storage has none of them either.
CREATE TABLE file_deletion (
    storage_key text PRIMARY KEY,
    due_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX file_deletion_due ON file_deletion (due_at);

-- Up to which id, included, what is too old has been looked at: `owner` is a chatbot, or days and who has that rule.
CREATE TABLE retention_progress (
    kind text NOT NULL,
    owner text NOT NULL,
    last_id uuid NOT NULL,
    PRIMARY KEY (kind, owner)
);
-- Messages that waited to be sent when their text was too old: it goes once they wait no more.
CREATE TABLE retention_postponed (
    message_id uuid PRIMARY KEY
);

-- What processes count.

-- For GET /metrics: {series: value} of this process, as of its last heartbeat; nothing that is zero.
ALTER TABLE process ADD COLUMN counts json;
-- The sums of the processes that have ended.
CREATE TABLE ended_count (
    series text PRIMARY KEY,                    -- its name and labels, as service/runtime/metrics.py writes them
    value numeric NOT NULL
);

-- The trace that work belongs to, where tracing is on: else no row is ever written.
CREATE TABLE row_trace (
    id uuid PRIMARY KEY,                        -- of a webhook event, a conversation that waits for a reply, or a message
    traceparent text NOT NULL,                  -- as W3C has it
    at timestamptz NOT NULL DEFAULT now()       -- it is forgotten after a day
);
CREATE INDEX row_trace_age ON row_trace (at);

-- Who has logged out of the dashboard, for as long as a log-in lasts.
CREATE TABLE dashboard_logout (
    session bytea PRIMARY KEY,                  -- SHA-256 of the word that its forms carried
    at timestamptz NOT NULL DEFAULT now()
);

-- What Meta tells of a message in quick succession moves it once; the platform is told of each step between, in their order.
CREATE OR REPLACE FUNCTION tell_moved_messages() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    steps CONSTANT text[] := ARRAY['accepted', 'sent', 'delivered', 'read', 'played'];
BEGIN
    IF EXISTS (SELECT FROM endpoint WHERE kind <> 'relay') THEN
        INSERT INTO event (type, chatbot_id, conversation_id, message_id, data)
        SELECT 'message.status', n.chatbot_id, n.conversation_id, n.id,
            json_build_object('status', s.status, 'previous_status', s.previous)
        FROM new_rows n JOIN old_rows o USING (id) CROSS JOIN LATERAL (
            SELECT step.status, step.place, lag(step.status, 1, o.status) OVER (ORDER BY step.place) AS previous
            FROM (
                SELECT n.status, 9 AS place
                UNION ALL
                SELECT t.status, t.place FROM unnest(steps) WITH ORDINALITY AS t (status, place)
                WHERE t.place < array_position(steps, n.status) AND t.place > coalesce(array_position(steps, o.status), 0)
                    AND CASE t.status WHEN 'accepted' THEN o.accepted_at IS NULL ELSE EXISTS (
                        SELECT FROM message_status f
                        WHERE f.message_id = n.id AND f.status = t.status AND f.wamid = n.wamid) END) AS step) AS s
        WHERE n.status <> o.status AND n.status IN ('accepted', 'sent', 'delivered', 'read', 'played', 'failed', 'held',
                'unknown', 'expired', 'cancelled')
            AND EXISTS (SELECT FROM endpoint e WHERE wants_event(e, 'message.status', n.chatbot_id)
                AND (e.kind <> 'poll' OR e.listens_until > now()))
        ORDER BY n.id, s.place;
    END IF;
    RETURN NULL;
END $$;

-- version 14: what is too old, or a person's, is found

CREATE INDEX CONCURRENTLY conversation_of_group ON conversation (chatbot_id) WHERE group_id IS NOT NULL;
CREATE INDEX CONCURRENTLY media_kept ON media (chatbot_id, id) WHERE status = 'stored';
CREATE INDEX CONCURRENTLY message_fact_orphan ON message_fact (received_at) WHERE message_id IS NULL;

-- version 15: what waits for its time, apart from what is to be sent

-- Queued, but not for the next ten minutes, as Meta wants it (131049: a day): of these an account may have thousands, and no
-- claim has to pass them. The clock takes the mark away in time.
ALTER TABLE message ADD COLUMN deferred boolean NOT NULL DEFAULT false;
CREATE OR REPLACE FUNCTION keep_message_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.waiting := CASE WHEN NEW.status IN ('scheduled', 'queued', 'sending', 'unknown', 'held') THEN NEW.status END;
    NEW.deferred := NEW.status = 'queued' AND coalesce(NEW.due_at > now() + interval '10 minutes', false);
    NEW.changed_minute := date_bin('1 minute', NEW.updated_at, '2000-01-01 00:00+00');
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER keep_message_marks BEFORE INSERT OR UPDATE ON message FOR EACH ROW
    WHEN (NEW.waiting IS DISTINCT FROM
            CASE WHEN NEW.status IN ('scheduled', 'queued', 'sending', 'unknown', 'held') THEN NEW.status END
        OR NEW.deferred <> (NEW.status = 'queued' AND coalesce(NEW.due_at > now() + interval '10 minutes', false))
        OR NEW.changed_minute <> date_bin('1 minute', NEW.updated_at, '2000-01-01 00:00+00'))
    EXECUTE FUNCTION keep_message_marks();
ALTER TABLE message ENABLE ALWAYS TRIGGER keep_message_marks;

-- version 16: its indexes

CREATE INDEX CONCURRENTLY message_sendable ON message (chatbot_id, deferred, priority, id) WHERE waiting = 'queued';
CREATE INDEX CONCURRENTLY message_deferred ON message (due_at, id) WHERE deferred;
CREATE INDEX CONCURRENTLY message_held_for ON message (chatbot_id, hold_reason) WHERE waiting = 'held';
CREATE INDEX CONCURRENTLY message_in_batch ON message (batch_id, waiting)
    WHERE batch_id IS NOT NULL AND waiting IS NOT NULL;
CREATE INDEX CONCURRENTLY message_timer ON message (waiting, due_at, id)
    WHERE waiting IN ('scheduled', 'sending', 'unknown');

-- version 17: as many messages as one statement may move

-- PL/pgSQL plans these once for a connection, for as many rows as the first statement moves: mostly one. Where rows before and
-- after are compared each with each, 27,000 of a number that is held take more than the minute that they have.
-- Without JIT: before PostgreSQL 18 a plan that cannot do without is taken for very dear, and compiled each time.
ALTER FUNCTION tell_moved_messages() SET enable_nestloop = off SET jit = off;
ALTER FUNCTION count_messages() SET enable_nestloop = off SET jit = off;

-- retired: what only the upgrade and the former version's processes needed; the next release drops it

DROP PROCEDURE IF EXISTS mark_waiting_messages();
DROP INDEX CONCURRENTLY IF EXISTS message_queued;
DROP INDEX CONCURRENTLY IF EXISTS message_held;
DROP INDEX CONCURRENTLY IF EXISTS message_due;
DROP INDEX CONCURRENTLY IF EXISTS message_expiring;
DROP INDEX CONCURRENTLY IF EXISTS message_of_batch_waiting;
DROP INDEX CONCURRENTLY IF EXISTS message_of_template_waiting;
DROP INDEX CONCURRENTLY IF EXISTS message_held_by_template;
DROP INDEX CONCURRENTLY IF EXISTS message_changed;
DROP INDEX CONCURRENTLY IF EXISTS message_to_send;
DROP INDEX CONCURRENTLY IF EXISTS message_on_hold;
DROP INDEX CONCURRENTLY IF EXISTS message_of_batch_open;
