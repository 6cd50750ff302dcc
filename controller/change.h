/* Changes of policy and whom they concern: floors for what is withdrawn, notices for the rest. */
#ifndef CONTROLLER_CHANGE_H
#define CONTROLLER_CHANGE_H

#include "controller/operation.h"

/* For args_roles: identities and services by name; arg is the call. */
weft_err change_find_identity(void *call, const char *name, wf_id *id);
weft_err change_find_service(void *call, const char *name, wf_id *id);

/* Tells connected identities that some policy lets dial or bind this service. */
weft_err change_notice_service(struct call *call, const wf_id *service);
/* Tells connected identities that this policy names. */
weft_err change_notice_policy(struct call *call, const struct store_policy *policy);

/* Each writes the store, raises floors where something was withdrawn, tells who is concerned. */
weft_err change_policy_add(struct call *call, const struct store_policy *policy);
weft_err change_policy_put(struct call *call, const struct store_policy *before,
                           const struct store_policy *after);
weft_err change_policy_remove(struct call *call, const struct store_policy *policy);

#endif
