# SPDX-License-Identifier: AGPL-3.0-or-later
"""
What is done: handlers, tasks, commands and the admin call in here; models keep the rows and change their states.

A webhook's way, and what each step rests on::

    outbox, enrollments         a pass or an enrolment becomes rows, in the LMS's own transaction
        recipients              which customers get one
        suppression             why a customer got none, noted for whoever asks later
    enrichment                  learning time, looked up in batches
        rollout                 whose is looked up at all
        final_number            what waits until its number is final
        rollup_schedule         when it is worth asking again
    addressing                  the endpoint is chosen, and the body is built and frozen
        owed, audit_reporting   is it still owed?
        webhook_routing         which endpoint?
        region_service          by the learner's region
        naming, sign_on         how the endpoint knows the learner
        held                    what waits for ids that the learner lacks
        revisions               the completion once more, with its final number
    delivery                    a round: claim, send, write back
        endpoint_gate           what an endpoint takes now
        admission               the arithmetic of that
        sign_in                 what is shown beside the signature
        sending                 one signed POST, and the threads that make it
        finished, write_back    what came of it, written down
        retry                   when it is tried again
    sweep                       what keeps all this moving when calls are lost
        reconciliation          passes that have no row
        slots                   how many workers do the same at once
        heartbeat               who was last seen alive

What goes along with it::

    disclosures, erasure        who was told what about whom, and that they are to forget it
    retention                   personal data goes when its time is over
    reasons                     why a webhook is not owed, in words

What people ask, and do::

    whereabouts                 where one webhook stands, and what moves it next
    explanation                 why a customer did or did not get a completion
    doctor                      is everything there, and working?
    figures                     what is counted, for the status page and monitoring
    verification                was the learning time right, and what did it cost?
    replay, cancellation        send again, or give up
    backfill                    completions from before an endpoint's time
    test_event, conformance     does a receiver take what it must?
    disclosure_export           the register, for a data-protection officer
    reencryption                secrets written anew, before a key is taken out
    incumbent                   moving over from the other distribution
"""
