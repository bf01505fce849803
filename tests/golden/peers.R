# What R says of the tables in tests/golden/tables; the tests hold the numbers that this prints.
#
#   Rscript tests/golden/peers.R                    (R 4.2.2, psyphy 0.2-3, lme4 1.1-31)
#   Rscript tests/golden/peers.R DIRECTORY          with the published answers of people in DIRECTORY/geirhos, /scooter
suppressMessages({ library(psyphy); library(lme4) })
options(digits = 9, warn = -1)
tables <- "tests/golden/tables"
read <- function(name) read.csv(file.path(tables, paste0(name, ".csv")))
exact <- glm.control(epsilon = 1e-13, maxit = 200)

# The threshold (where S is 1/2) with its delta standard error, the width from 5 % to 95 % of S, its log's error.
threshold_and_width <- function(model, quantile) {
  b <- coef(model); v <- vcov(model); z <- quantile(0.5)
  gradient <- c(-1 / b[2], -(z - b[1]) / b[2]^2)
  c(m = unname((z - b[1]) / b[2]), se = sqrt(drop(t(gradient) %*% v %*% gradient)),
    w = unname((quantile(0.95) - quantile(0.05)) / b[2]), se_log_w = unname(sqrt(v[2, 2]) / abs(b[2])),
    deviance = deviance(model), loglik = as.numeric(logLik(model)))
}
cloglog <- function(p) log(-log(1 - p))
show <- function(label, values) cat(label, ": ", paste(names(values), format(values, digits = 7), collapse = "  "), "\n", sep = "")

seen <- read("frequency_of_seeing")
for (curve in unique(paste(seen$observer, seen$run))) {
  rows <- seen[paste(seen$observer, seen$run) == curve, ]
  for (link in list(list("probit", qnorm), list("logit", qlogis), list("cloglog", cloglog))) {
    model <- glm(cbind(seen, trials - seen) ~ log10(quanta), binomial(link[[1]]), rows, control = exact)
    show(paste(curve, link[[1]]), threshold_and_width(model, link[[2]]))
  }
}

detection <- read("contrast_detection")
for (size in unique(detection$size)) {
  rows <- detection[detection$size == size, ]
  links <- list(list("mafc.weib", mafc.weib(4), cloglog), list("mafc.probit", mafc.probit(4), qnorm),
                list("mafc.logit", mafc.logit(4), qlogis), list("mafc.cauchit", mafc.cauchit(4), qcauchy))
  for (link in links) {
    model <- glm(cbind(right, trials - right) ~ log10(contrast), binomial(link[[2]]), rows, control = exact)
    show(paste("size", size, link[[1]]), threshold_and_width(model, link[[3]]))
  }
}

naming <- read("naming_contrast")
for (lapse in c(0, 0.16458)) {
  model <- glm(cbind(right, trials - right) ~ log10(contrast), binomial(probit.lambda(16, lapse)), naming,
               control = exact)
  show(paste("naming, lapse", lapse), threshold_and_width(model, qnorm))
}

mixed <- function(label, formula, data, link = "probit") {
  model <- glmer(formula, data, family = binomial(link),
                 control = glmerControl(optimizer = "bobyqa", optCtrl = list(maxfun = 1e5, rhoend = 1e-9),
                                        calc.derivs = TRUE, tolPwrss = 1e-11))
  cat("\n", label, " (", link, ")\n", sep = "")
  show("  coefficients", fixef(model))
  show("  standard errors", sqrt(diag(as.matrix(vcov(model)))))
  spread <- as.data.frame(VarCorr(model))
  cat("  sd, correlation:", paste(spread$grp, spread$var1, spread$var2, format(spread$sdcor, digits = 7)), sep = " | ")
  cat("\n  log likelihood", format(as.numeric(logLik(model)), digits = 10), " singular", isSingular(model), "\n")
}

answers <- read("crossed_answers")
for (link in c("probit", "logit")) {
  mixed("crossed intercepts", yes ~ log2(eps) + model + (1 | participant) + (1 | picture), answers, link)
  mixed("random slopes", yes ~ log2(eps) * model + (1 + log2(eps) | participant) + (1 | picture), answers, link)
}
judged <- read("speed_judgements")
mixed("speed judgements", cbind(faster, slower) ~ speed * masked + (1 + speed | participant), judged)
mixed("speed judgements, intercepts", cbind(faster, slower) ~ speed * masked + (1 | participant), judged)

signs <- do.call(rbind, strsplit(read.csv(file.path(tables, "verbal_aggression.csv"), colClasses = "character")$answers, ""))
aggression <- data.frame(yes = as.integer(signs), person = factor(row(signs)), item = factor(col(signs)),
                         do = as.integer(col(signs) > 12))
mixed("verbal aggression", yes ~ do + (1 | person) + (1 | item), aggression, "logit")

directory <- commandArgs(TRUE)
if (length(directory)) {
  contrast <- read.csv(file.path(directory, "geirhos", "contrast.csv"), strip.white = TRUE)
  contrast$level <- as.numeric(sub("c", "", contrast$condition))
  contrast$right <- as.integer(contrast$object_response == contrast$category)
  contrast$picture <- sub("^[^_]*_[^_]*_[^_]*_", "", contrast$imagename)
  low <- contrast[contrast$level <= 15, ]
  mixed("naming at low contrast", right ~ log10(level) + (1 | picture) + (1 | category) + (1 | subj), low)
  ratings <- read.csv(file.path(directory, "scooter", "advpp.csv"))
  ratings$said <- as.integer(ratings$rating < 0)
  ratings$modified <- as.integer(ratings$image_type == "modified")
  ratings$picture <- paste(ratings$image_type, ratings$image_id)
  mixed("seen to be modified, advpp", said ~ modified + (1 + modified | pid) + (1 | picture), ratings)
}
