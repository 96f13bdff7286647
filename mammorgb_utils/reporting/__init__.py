"""What a study tells: the claims and their ledger, the report, the pages of scores and of archives, the documents."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={
    "claims": ["CLAIMS_FILE", "ClaimsError", "evaluate_claims", "judge_claims", "load_claims", "paper_figures"],
    "completion": ["completion_answer"],
    "conditional": ["conditional_answer"],
    "ledger": ["answer", "claims_ledger", "learning_rate_claim", "open_questions"],
    "mask_verdicts": ["verdicts_by_method", "verdicts_of_study"],
    "report": ["write_report"],
    "utility": ["utility_answer"],
})
